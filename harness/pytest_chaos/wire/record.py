"""An attempt while it is going on: filled in as things are seen, written to the spool once, when it has ended."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

REQUEST_HEADERS = frozenset({
    "idempotency-key", "x-correlation-id", "traceparent", "tracestate", "baggage", "grpc-timeout",
    "grpc-previous-rpc-attempts", "x-request-id", "retry-after", "content-type",
})  # fmt: skip
RESPONSE_HEADERS = frozenset(
    {"x-correlation-id", "retry-after", "content-type", "grpc-message", "grpc-retry-pushback-ms"}
)
_ALWAYS = ("id", "link", "connection", "reused", "protocol", "connected_ns", "started_ns")
_SOME = ("operation", "request_headers", "response_headers", "body_hash", "faults")
_TEXTS = ("error", "closed_by", "marker")
_COUNTS = ("request_bytes", "response_bytes", "request_messages", "response_messages")
_FLAGS = ("replayed", "deferred")
_TIMES = ("sent_ns", "forwarded_ns", "answered_ns")
_STATUSES = ("status", "grpc_status", "upstream_status", "upstream_grpc_status")


_quote = json.encoder.encode_basestring_ascii


class Record:
    """The growing form of :class:`pytest_chaos.model.attempt.Attempt`: same fields, same meaning.

    ``started_ns``/``sent_ns``: first and last byte of the request from the caller; ``forwarded_ns``: first byte of it
    handed to the callee (or the stub's work done); ``answered_ns``: first byte of the answer given to the caller.
    """

    __slots__ = (*_ALWAYS, *_SOME, *_TEXTS, *_COUNTS, *_FLAGS, *_TIMES, "ended_ns", *_STATUSES)

    def __init__(  # by position, since one is made for each request: names cost a dict
        self,
        attempt: str,
        link: str,
        connection: str,
        reused: bool,  # noqa: FBT001
        protocol: str,
        connected_ns: int,
        started_ns: int,
    ) -> None:
        self.id, self.link, self.connection, self.reused, self.protocol = attempt, link, connection, reused, protocol
        self.connected_ns, self.started_ns = connected_ns, started_ns
        self.operation = self.closed_by = self.error = self.body_hash = self.marker = ""
        self.sent_ns: int | None = None
        self.forwarded_ns: int | None = None
        self.answered_ns: int | None = None
        self.ended_ns: int | None = None
        self.status: int | None = None
        self.grpc_status: int | None = None
        self.upstream_status: int | None = None
        self.upstream_grpc_status: int | None = None
        self.request_headers: dict[str, str] = {}
        self.response_headers: dict[str, str] = {}
        self.request_bytes = self.response_bytes = 0
        self.request_messages = self.response_messages = 0
        self.replayed = self.deferred = False
        self.faults: list[str] = []

    def line(self) -> str:
        """Give the attempt's fields as a JSON object, leaving out what says nothing (as the model's codec does).

        Written by hand, since one is written for each request: twice as fast as a dict given to ``json``.
        """
        said = f'{{"k":"a","id":"{self.id}"{_of_connection(self.link, self.connection, self.reused, self.protocol)}'
        said += f',"connected_ns":{self.connected_ns},"started_ns":{self.started_ns}'
        if self.operation:
            said += f',"operation":{_quoted(self.operation)}'
        if self.request_headers:
            said += f',"request_headers":{_object(self.request_headers)}'
        if self.response_headers:
            said += f',"response_headers":{_object(self.response_headers)}'
        if self.body_hash:
            said += f',"body_hash":"{self.body_hash}"'
        if self.sent_ns is not None and self.forwarded_ns is not None and self.answered_ns is not None:
            said += f',"sent_ns":{self.sent_ns},"forwarded_ns":{self.forwarded_ns},"answered_ns":{self.answered_ns}'
        else:
            said += "".join([f',"{name}":{at}' for name in _TIMES if (at := getattr(self, name)) is not None])
        if self.ended_ns is not None:
            said += f',"ended_ns":{self.ended_ns}'
        said += _outcome(
            self.status, self.grpc_status, self.upstream_status, self.upstream_grpc_status,
            self.request_bytes, self.response_bytes, self.request_messages, self.response_messages,
        )  # fmt: skip
        if self.error or self.closed_by or self.marker or self.faults or self.replayed or self.deferred:
            said += self._more()
        return said + "}"

    def as_json(self) -> dict[str, Any]:
        """Give the same fields, for who asks about an attempt that is open."""
        row: dict[str, Any] = json.loads(self.line())
        del row["k"]
        return row

    def _more(self) -> str:
        """Give what most attempts have not."""
        said = "".join([f',"{name}":{_quote(text)}' for name in _TEXTS if (text := getattr(self, name))])
        if self.faults:
            said += f',"faults":[{",".join([_quote(fault) for fault in self.faults])}]'
        return said + "".join([f',"{name}":true' for name in _FLAGS if getattr(self, name)])


@functools.lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    """Quote a text that comes again and again."""
    return _quote(text)


@functools.lru_cache(maxsize=1024)
def _of_connection(link: str, connection: str, reused: bool, protocol: str) -> str:  # noqa: FBT001 - called by position
    """Say what all requests of a connection but the first have in common."""
    return (
        f',"link":{_quote(link)},"connection":"{connection}","reused":{"true" if reused else "false"}'
        f',"protocol":"{protocol}"'
    )


@functools.lru_cache(maxsize=1024)
def _outcome(*numbers: int | None) -> str:
    """Say statuses (None: there is none) and counts (0 is not said): the same few come again and again."""
    told = zip((*_STATUSES, *_COUNTS), numbers, (None,) * len(_STATUSES) + (0,) * len(_COUNTS), strict=True)
    return "".join([f',"{name}":{number}' for name, number, nothing in told if number != nothing])


class Told(dict[str, str]):
    """Headers that come again and again and do not change: how a line says them is worked out once."""

    __slots__ = ("json",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(headers)
        self.json = _written(headers)


def _object(headers: Mapping[str, str]) -> str:
    return headers.json if type(headers) is Told else _written(headers)


def _written(headers: Mapping[str, str]) -> str:
    return "{" + ",".join([f"{_quoted(name)}:{_quote(value)}" for name, value in headers.items()]) + "}"


def joined(headers: Iterable[tuple[str, str]], wanted: frozenset[str] | None = None) -> dict[str, str]:
    """Collect headers (lower-case names) in a dict, repeats joined with a comma; all of them, or the wanted ones."""
    found: dict[str, str] = {}
    for name, value in headers:
        if wanted is None or name in wanted:
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def named(headers: Mapping[str, str], wanted: frozenset[str]) -> dict[str, str]:
    """Choose headers, whatever the case of their names."""
    return {name.lower(): value for name, value in headers.items() if name.lower() in wanted}


def op_key(headers: Mapping[str, str]) -> str:
    """Give what names the logical operation: correlation ID, idempotency key, trace id, else nothing."""
    return (
        headers.get("x-correlation-id")
        or headers.get("idempotency-key")
        or headers.get("traceparent", "").partition("-")[2].partition("-")[0]
    )
