"""The callee's side of an HTTP/2 connection where there is none: a stub that answers gRPC calls and HTTP/2 requests."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pytest_chaos.wire.connection import PREFACE
from pytest_chaos.wire.http2 import frames
from pytest_chaos.wire.http2.frames import Frame, FrameReader
from pytest_chaos.wire.http2.header_reader import HeaderReader
from pytest_chaos.wire.http2.headers import HeaderWriter
from pytest_chaos.wire.http2.held import GRPC_HEAD, answer_headers, status_headers
from pytest_chaos.wire.kinds import BODY_LIMIT
from pytest_chaos.wire.stub import Answer, Request, Stub

_UNIMPLEMENTED = 12
_LAST_GRPC = 16
_CHUNK = 16_384


@dataclass(slots=True)
class _Call:
    fields: dict[str, str]
    body: bytearray = field(default_factory=bytearray)


class Http2Stub:
    """Frames in, frames out. ``work(stream, effect)`` is called for every effect, before the answer is given."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self._frames, self._headers, self._writer = FrameReader(preface=len(PREFACE)), HeaderReader(), HeaderWriter()
        self._calls: dict[int, _Call] = {}
        self._begun = False

    def feed(self, data: bytes, work: Callable[[int, dict[str, Any]], None]) -> bytes:
        """Take the caller's bytes and give the stub's; raises BadFrame."""
        out: list[bytes] = []
        if not self._begun:
            self._begun = True
            out.append(frames.build(frames.SETTINGS, 0, 0))
        for frame in self._frames.feed(data):
            self._frame(frame, out, work)
        return b"".join(out)

    def _frame(self, frame: Frame, out: list[bytes], work: Callable[[int, dict[str, Any]], None]) -> None:
        call = self._calls.get(frame.stream)
        if frame.kind == frames.HEADERS:
            headers = self._headers.read(frame.payload)
            if call is None:
                call = self._calls[frame.stream] = _Call(headers.fields)
        elif frame.kind == frames.DATA and call is not None:
            if len(call.body) < BODY_LIMIT:
                call.body += frame.content()
            size = len(frame.raw) - frames.HEAD
            out += [frames.window_update(0, size), frames.window_update(frame.stream, size)]
        elif frame.kind == frames.RST_STREAM:
            self._calls.pop(frame.stream, None)
        elif frame.kind == frames.PING and not frame.flags & frames.ACK:
            out.append(frames.build(frames.PING, frames.ACK, 0, frame.payload))
        elif frame.kind == frames.SETTINGS and not frame.flags & frames.ACK:
            out.append(frames.build(frames.SETTINGS, frames.ACK, 0))
        if frame.kind in {frames.DATA, frames.HEADERS} and frame.flags & frames.END_STREAM and call is not None:
            self._calls.pop(frame.stream, None)
            out.append(self._answer(frame.stream, call, work))

    def _answer(self, stream: int, call: _Call, work: Callable[[int, dict[str, Any]], None]) -> bytes:
        fields = call.fields
        path = fields.get(":path", "")
        grpc = fields.get("content-type", "").startswith("application/grpc")
        bare = path.partition("?")[0]
        operation = bare if grpc else f"{fields.get(':method', '')} {bare}"
        asked = Request(operation=operation, target=path, headers=fields, body=bytes(call.body))
        answer, effect = self._stub.serve(asked)
        if effect is not None:
            work(stream, effect)
        return self._grpc(stream, answer) if grpc else self._http(stream, answer)

    def _http(self, stream: int, answer: Answer) -> bytes:
        head = self._writer.frames(stream, answer_headers(answer), end=not answer.body)
        return head + _data(stream, answer.body, end=True) if answer.body else head

    def _grpc(self, stream: int, answer: Answer) -> bytes:
        code = 0 if answer.status == 200 else answer.status if answer.status <= _LAST_GRPC else _UNIMPLEMENTED
        if code:
            return self._writer.frames(stream, status_headers(code, "", begun=False), end=True)
        try:
            message = base64.b64decode(answer.body, validate=True)
        except binascii.Error:
            message = answer.body
        head = self._writer.frames(stream, GRPC_HEAD, end=False)
        data = _data(stream, b"\0" + len(message).to_bytes(4, "big") + message, end=False)
        return head + data + self._writer.frames(stream, status_headers(0, "", begun=True), end=True)


def _data(stream: int, body: bytes, *, end: bool) -> bytes:
    parts = [body[at : at + _CHUNK] for at in range(0, len(body), _CHUNK)]
    last = len(parts) - 1
    return b"".join(
        frames.build(frames.DATA, frames.END_STREAM if end and number == last else 0, stream, part)
        for number, part in enumerate(parts)
    )
