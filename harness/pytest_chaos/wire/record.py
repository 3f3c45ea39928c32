"""An attempt while it is going on: filled in as things are seen, written to the spool once, when it has ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

REQUEST_HEADERS = frozenset({
    "idempotency-key", "x-correlation-id", "traceparent", "tracestate", "baggage", "grpc-timeout",
    "grpc-previous-rpc-attempts", "x-request-id", "retry-after", "content-type",
})  # fmt: skip
RESPONSE_HEADERS = frozenset(
    {"x-correlation-id", "retry-after", "content-type", "grpc-message", "grpc-retry-pushback-ms"}
)
_ALWAYS = ("id", "link", "connection", "reused", "protocol", "connected_ns", "started_ns")
_TEXTS = (
    "operation", "closed_by", "error", "request_headers", "response_headers", "body_hash", "request_bytes",
    "response_bytes", "marker", "faults",
)  # fmt: skip
_NUMBERS = (
    "sent_ns", "forwarded_ns", "answered_ns", "ended_ns", "status", "grpc_status", "upstream_status",
    "upstream_grpc_status",
)  # fmt: skip


class Record:
    """The growing form of :class:`pytest_chaos.model.attempt.Attempt`: same fields, same meaning.

    ``started_ns``/``sent_ns``: first and last byte of the request from the caller; ``forwarded_ns``: first byte of it
    handed to the callee (or the stub's work done); ``answered_ns``: first byte of the answer given to the caller.
    """

    __slots__ = (*_ALWAYS, *_TEXTS, *_NUMBERS)

    def __init__(
        self,
        *,
        attempt: str,
        link: str,
        connection: str,
        reused: bool,
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
        self.faults: list[str] = []

    def as_json(self) -> dict[str, Any]:
        """Give the attempt's fields, leaving out what says nothing (as the model's codec does)."""
        row: dict[str, Any] = {name: getattr(self, name) for name in _ALWAYS}
        for name in _TEXTS:
            if value := getattr(self, name):
                row[name] = value
        for name in _NUMBERS:
            if (value := getattr(self, name)) is not None:
                row[name] = value
        return row


def joined(headers: Iterable[tuple[str, str]], wanted: frozenset[str] | None = None) -> dict[str, str]:
    """Collect headers (lower-case names) in a dict, repeats joined with a comma; all of them, or the wanted ones."""
    found: dict[str, str] = {}
    for name, value in headers:
        if wanted is None or name in wanted:
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def op_key(headers: dict[str, str]) -> str:
    """Give what names the logical operation: correlation ID, idempotency key, trace id, else nothing."""
    return (
        headers.get("x-correlation-id")
        or headers.get("idempotency-key")
        or headers.get("traceparent", "").partition("-")[2].partition("-")[0]
    )
