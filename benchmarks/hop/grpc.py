"""gRPC unary calls and a server for them: frames and header blocks as grpc-go and grpc-core write them.

Header blocks use the table as a real client does: every header is put into it, so that all but the first calls say most
of theirs in a byte each, and a trace context, which is new in every call, pushes the older ones out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import hpack

from benchmarks.hop.clients import RING, Client, Tally, traceparent

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 1
_END_HEADERS = 4
_INITIAL_WINDOW = 4
_WINDOW = 2**30
_TABLE = 4096
_MESSAGE = b"\0" + (100).to_bytes(4, "big") + b"m" * 100


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


_OPENING = _frame(_SETTINGS, 0, 0, _INITIAL_WINDOW.to_bytes(2, "big") + _WINDOW.to_bytes(4, "big"))
_OPENING += _frame(_WINDOW_UPDATE, 0, 0, (_WINDOW - 65_535).to_bytes(4, "big"))


class _Frames:
    """Splits bytes into frames and does what a connection owes its peer."""

    def __init__(
        self, write: Callable[[bytes], object], broken: Callable[[str], None], settled: Callable[[], None] | None = None
    ) -> None:
        self._write, self._broken, self._settled = write, broken, settled
        self._in = b""
        self._taken = 0

    def ended(self, data: bytes) -> list[int]:
        """Take bytes; give the streams that the peer has ended with them."""
        data = self._in + data if self._in else data
        at, size, found = 0, len(data), []
        self._taken += size
        while size - at >= 9:
            end = at + 9 + int.from_bytes(data[at : at + 3], "big")
            if end > size:
                break
            kind, flags = data[at + 3], data[at + 4]
            if kind > _HEADERS:
                self._other(kind, flags, data[at + 9 : end])
            elif flags & _END_STREAM:
                found.append(int.from_bytes(data[at + 5 : at + 9], "big"))
            at = end
        self._in = data[at:]
        if self._taken > _WINDOW // 4:
            self._write(_frame(_WINDOW_UPDATE, 0, 0, self._taken.to_bytes(4, "big")))
            self._taken = 0
        return found

    def _other(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            self._write(_frame(_SETTINGS, _ACK, 0, b""))
            if self._settled is not None:
                self._settled()
        elif kind == _PING and not flags & _ACK:
            self._write(_frame(_PING, _ACK, 0, payload))
        elif kind in {_RST_STREAM, _GOAWAY}:
            self._broken(f"frame of kind {kind}: {payload.hex()}")


class Grpc(Client):
    """Calls with 100 bytes, answered by 100 bytes."""

    traced = False

    def __init__(self, requests: Sequence[bytes], depth: int, tally: Tally) -> None:
        super().__init__(requests, depth, tally)
        self._stream = -1

    @classmethod
    def requests(cls, connection: int) -> list[bytes]:
        """Give header blocks; the first empties the table, so that they can be said again from there."""
        encoder = hpack.Encoder()
        found = []
        for number in range(RING):
            if not number:
                encoder.header_table_size = 0
                encoder.header_table_size = _TABLE
            headers = [
                (":method", "POST"), (":scheme", "http"), (":path", "/bench.Echo/Say"), (":authority", "bench:50051"),
                ("content-type", "application/grpc"), ("user-agent", "grpc-go/1.60.0"), ("te", "trailers"),
            ]  # fmt: skip
            if cls.traced:
                headers.append(("traceparent", traceparent(connection, number)))
            found.append(encoder.encode(headers))
        return found

    def begin(self) -> None:
        self._frames = _Frames(self.transport.write, self.fail, self._settled)
        self.transport.write(_PREFACE + _OPENING)

    def _settled(self) -> None:
        if not self.ready.done():
            self.go()

    def request(self) -> bytes:
        self._stream += 2
        head = _frame(_HEADERS, _END_HEADERS, self._stream, super().request())
        return head + _frame(_DATA, _END_STREAM, self._stream, _MESSAGE)

    def answers(self, data: bytes) -> int:
        return len(self._frames.ended(data))


class GrpcTraced(Grpc):
    """The same with a trace context in each call."""

    traced = True


class GrpcServer(asyncio.Protocol):
    """Answers each call as soon as it is whole."""

    def __init__(self) -> None:
        encoder = hpack.Encoder()
        head = [(":status", "200"), ("content-type", "application/grpc")]
        trailers = [("grpc-status", "0"), ("grpc-message", "")]
        self._first = encoder.encode(head), encoder.encode(trailers)
        self._later = encoder.encode(head), encoder.encode(trailers)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._frames = _Frames(self._transport.write, lambda wrong: None)
        self._transport.write(_OPENING)

    def data_received(self, data: bytes) -> None:
        out = []
        for stream in self._frames.ended(data.removeprefix(_PREFACE)):
            head, trailers = self._first
            self._first = self._later
            out += [
                _frame(_HEADERS, _END_HEADERS, stream, head),
                _frame(_DATA, 0, stream, _MESSAGE),
                _frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, trailers),
            ]
        if out:
            self._transport.write(b"".join(out))
