"""Requests that wire delivers itself: a second time, or after their caller has gone; on a connection of their own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pytest_chaos.wire.http1.messages import HEAD_LIMIT, BadMessage, Body, Head, parse_response
from pytest_chaos.wire.http2.call import Http2Call
from pytest_chaos.wire.http2.frames import BadFrame
from pytest_chaos.wire.http2.headers import Block
from pytest_chaos.wire.http2.stub import Http2Stub
from pytest_chaos.wire.record import RESPONSE_HEADERS, Record
from pytest_chaos.wire.stub import Request, Stub
from pytest_chaos.wire.table import Step
from pytest_chaos.wire.world import World

_CONNECT_S = 10.0
_ANSWER_S = 60.0
"""How long the callee is waited for; nobody else waits for that answer."""
_CHUNK = 65_536


class Reach(Protocol):
    """Where the callee is: an address, or a stub."""

    upstream: tuple[str, int] | None
    stub: Stub | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A whole request: ``raw`` as it came over HTTP/1.1, else its header blocks; ``body`` without framing."""

    reach: Reach
    target: str
    fields: Mapping[str, str]
    body: bytes
    raw: bytes = b""
    head: Head | None = None
    headers: Block | None = None
    trailers: Block | None = None


def replay(world: World, step: Step, first: Record, copy: Copy, *, counted: bool = True) -> None:
    """Deliver a copy of ``first`` after the step's delay, or when its rule is lifted; recorded as an attempt.

    ``counted``: the step's hit is counted already.
    """
    now = world.now()
    record = world.begin(
        link=first.link,
        connection=world.connection_id(),
        reused=False,
        protocol=first.protocol,
        connected_ns=now,
        started_ns=now,
    )
    record.replayed = True
    record.operation, record.request_headers = first.operation, first.request_headers
    record.body_hash, record.marker = first.body_hash, first.marker
    record.request_bytes, record.request_messages = first.request_bytes, first.request_messages
    record.faults.append(step.active.rule.fault)
    world.run(_deliver(world, step, record, copy, counted=counted))


async def _deliver(world: World, step: Step, record: Record, copy: Copy, *, counted: bool) -> None:
    if step.delay_s:
        await world.pause(step, record.id, wait_s=step.delay_s)
    call = Http1Call(copy) if copy.headers is None else Http2Call(copy.headers, copy.body, copy.trailers)
    record.connected_ns = record.started_ns = record.sent_ns = world.now()

    def sent() -> None:
        record.forwarded_ns = world.now()
        if not counted:
            world.hit(step.active, link=record.link, attempt=record.id)

    error, by = "", ""
    try:
        if copy.reach.stub is not None:
            _ask(world, copy.reach.stub, record, copy, call)
            sent()
        else:
            error, by = await _send(copy.reach.upstream, call, sent)
    except (BadMessage, BadFrame):
        error, by = "truncated", "callee"
    except ConnectionError:
        error, by = "reset", "callee"
    record.status = record.upstream_status = call.status
    record.grpc_status = record.upstream_grpc_status = call.grpc_status
    record.response_headers = {name: value for name, value in call.fields.items() if name in RESPONSE_HEADERS}
    record.response_bytes = call.size
    if call.status is not None:
        record.answered_ns = world.now()
        if record.protocol == "grpc" and call.grpc_status is not None:
            record.status = record.upstream_status = None
    if call.error == "refused":
        record.forwarded_ns = None  # certainly not worked on (RFC 9113, 6.8 and 8.7)
    world.end(record, error=error or call.error, closed_by=by or ("callee" if call.error else ""))


class _Sent(Protocol):
    def __call__(self) -> None:
        """The first byte is about to be handed to the callee."""


async def _send(upstream: tuple[str, int] | None, call: Http1Call | Http2Call, sent: _Sent) -> tuple[str, str]:
    """Speak with the callee until it has answered; give what went wrong, and who ended it."""
    if upstream is None:
        return "refused", "callee"
    try:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(*upstream)
    except TimeoutError:
        return "timeout", "callee"
    except OSError:
        return "refused", "callee"
    try:
        async with asyncio.timeout(_ANSWER_S):
            sent()
            writer.write(call.begin())
            while not call.done:
                data = await reader.read(_CHUNK)
                if not data:
                    call.ended()
                    break
                writer.write(call.feed(data))
                await writer.drain()
    except TimeoutError:
        return "timeout", "wire"
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return "", ""


def _ask(world: World, stub: Stub, record: Record, copy: Copy, call: Http1Call | Http2Call) -> None:
    """Let a stub do its work once more."""

    def work(_: int, effect: dict[str, object]) -> None:
        world.effect({**effect, "attempt": record.id})

    if isinstance(call, Http2Call):
        callee = Http2Stub(stub)
        out = call.begin()
        while out and not call.done:
            out = call.feed(callee.feed(out, work))
        return
    asked = Request(operation=record.operation, target=copy.target, headers=copy.fields, body=copy.body)
    answer, effect = stub.serve(asked)
    if effect is not None:
        work(0, effect)
    call.status, call.size, call.done = answer.status, len(answer.body), True
    call.fields = {name.lower(): value for name, value in answer.headers.items()}


class Http1Call:
    """One request over HTTP/1.1, sans I/O: its bytes as they were, its answer read to the end."""

    def __init__(self, copy: Copy) -> None:
        self.status: int | None = None
        self.grpc_status: int | None = None
        self.fields: Mapping[str, str] = {}
        self.size = 0
        self.error = ""
        self.done = False
        self._copy = copy
        self._head = b""
        self._body: Body | None = None

    def begin(self) -> bytes:
        """Give the request's bytes."""
        return self._copy.raw

    def feed(self, data: bytes) -> bytes:
        """Take the callee's bytes; raises BadMessage."""
        while data and not self.done:
            if self._body is None:
                data = self._read_head(data)
                continue
            used, content = self._body.feed(data)
            self.size += len(content)
            data = data[used:]
            self.done = self._body.done
        return b""

    def _read_head(self, data: bytes) -> bytes:
        self._head += data
        end = self._head.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(self._head) > HEAD_LIMIT:
                raise BadMessage
            return b""
        raw, rest = self._head[:end], self._head[end:]
        self._head = b""
        head = parse_response(raw)
        if head.status < 200 and not head.switches:
            return rest
        self.status, self.fields = head.status, head.fields
        self._body = head.body(request=self._copy.head)
        self.done = self._body.done or head.switches
        return rest

    def ended(self) -> None:
        """The callee has sent FIN."""
        if self._body is not None and self._body.until_close:
            self.done = True
        else:
            self.error = "eof" if self._body is None else "truncated"
