"""One request over HTTP/2, sans I/O (RFC 9113): a connection for one stream, with the callee's flow control kept."""

from __future__ import annotations

from pytest_chaos.wire.connection import PREFACE
from pytest_chaos.wire.http2 import frames
from pytest_chaos.wire.http2.frames import Frame, FrameReader
from pytest_chaos.wire.http2.header_reader import HeaderReader
from pytest_chaos.wire.http2.headers import Block, HeaderWriter

_STREAM = 1
_INITIAL_WINDOW_SIZE = 4
_WINDOW = 65_535
_WIDEST = 2**31 - 1
_CHUNK = 16_384
_OK = 200


class Http2Call:
    """Sends headers, body and trailers; reads the answer to its end."""

    def __init__(self, headers: Block, body: bytes, trailers: Block | None) -> None:
        self.status: int | None = None
        self.grpc_status: int | None = None
        self.fields: dict[str, str] = {}
        self.size = 0
        self.error = ""
        self.done = False
        self._headers, self._trailers = headers, trailers
        self._left = memoryview(body)
        self._sent_all = False
        self._credit = self._stream_credit = self._initial = _WINDOW
        self._frames, self._reader, self._writer = FrameReader(), HeaderReader(), HeaderWriter()

    def begin(self) -> bytes:
        """Give what opens the connection and the request, as far as the callee's windows let it go."""
        ours = frames.ENABLE_PUSH.to_bytes(2, "big") + bytes(4)
        ours += _INITIAL_WINDOW_SIZE.to_bytes(2, "big") + _WIDEST.to_bytes(4, "big")
        self._sent_all = not self._left and self._trailers is None
        return b"".join([
            PREFACE,
            frames.build(frames.SETTINGS, 0, 0, ours),
            frames.window_update(0, _WIDEST - _WINDOW),
            self._writer.frames(_STREAM, self._headers, end=self._sent_all),
            self._more(),
        ])  # fmt: skip

    def feed(self, data: bytes) -> bytes:
        """Take the callee's bytes and give what is to be sent; raises BadFrame."""
        out: list[bytes] = []
        for frame in self._frames.feed(data):
            if frame.stream == 0:
                self._of_connection(frame, out)
            elif frame.stream == _STREAM:
                self._of_stream(frame)
        out.append(self._more())
        return b"".join(out)

    def ended(self) -> None:
        """The callee has closed the connection."""
        if not self.done:
            self.error = self.error or ("eof" if self.status is None else "truncated")

    def _more(self) -> bytes:
        out: list[bytes] = []
        while self._left and self._credit > 0 and self._stream_credit > 0:
            part = self._left[: min(_CHUNK, self._credit, self._stream_credit)]
            self._left = self._left[len(part) :]
            self._credit -= len(part)
            self._stream_credit -= len(part)
            end = not self._left and self._trailers is None
            self._sent_all = self._sent_all or end
            out.append(frames.build(frames.DATA, frames.END_STREAM if end else 0, _STREAM, bytes(part)))
        if not self._left and not self._sent_all and self._trailers is not None:
            self._sent_all = True
            out.append(self._writer.frames(_STREAM, self._trailers, end=True))
        return b"".join(out)

    def _of_connection(self, frame: Frame, out: list[bytes]) -> None:
        if frame.kind == frames.SETTINGS and not frame.flags & frames.ACK:
            initial = frames.settings(frame.payload).get(_INITIAL_WINDOW_SIZE, self._initial)
            self._stream_credit += initial - self._initial
            self._initial = initial
            out.append(frames.build(frames.SETTINGS, frames.ACK, 0))
        elif frame.kind == frames.PING and not frame.flags & frames.ACK:
            out.append(frames.build(frames.PING, frames.ACK, 0, frame.payload))
        elif frame.kind == frames.WINDOW_UPDATE:
            self._credit += int.from_bytes(frame.payload, "big")
        elif frame.kind == frames.GOAWAY and int.from_bytes(frame.payload[:4], "big") & _WIDEST < _STREAM:
            self.error, self.done = "refused", True

    def _of_stream(self, frame: Frame) -> None:
        if frame.kind == frames.HEADERS:
            fields = self._reader.read(frame.payload).fields
            status = fields.get(":status", "")
            if status.isdecimal() and int(status) < _OK:
                return
            self.status = int(status) if status.isdecimal() else self.status
            self.grpc_status = int(fields["grpc-status"]) if fields.get("grpc-status", "").isdecimal() else None
            self.fields |= fields
        elif frame.kind == frames.DATA:
            self.size += len(frame.content())
        elif frame.kind == frames.WINDOW_UPDATE:
            self._stream_credit += int.from_bytes(frame.payload, "big")
        elif frame.kind == frames.RST_STREAM:
            code = int.from_bytes(frame.payload, "big")
            if code != frames.NO_ERROR or self.status is None:
                self.error = "refused" if code == frames.REFUSED_STREAM else "reset"
            self.done = True
        if frame.kind in {frames.HEADERS, frames.DATA} and frame.flags & frames.END_STREAM:
            self.done = True
