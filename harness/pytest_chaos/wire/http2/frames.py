"""HTTP/2 frames, sans I/O (RFC 9113): split, read, build."""

from __future__ import annotations

import struct
from typing import NamedTuple

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITISED = 0x4, 0x8, 0x20
NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0, 2, 7, 8
HEADER_TABLE_SIZE, ENABLE_PUSH = 1, 2
HEAD = 9
"""Bytes of a frame's head."""
_BLOCK_LIMIT = 256 * 1024
FRAME_LIMIT = 16_384
"""Bytes of payload that every peer takes."""
_ID = 0x7FFFFFFF
_OF_BLOCKS = frozenset({HEADERS, CONTINUATION})
_WHOLE = END_HEADERS | PADDED | PRIORITISED
"""Of these flags only the first: the block is all there and nothing else is in the frame."""
_HEAD_OF = struct.Struct(">HBBBI")
_HEADERS_ONLY = bytes([HEADERS, END_HEADERS])
_MORE_DATA, _LAST_DATA = bytes([DATA, 0]), bytes([DATA, END_STREAM])
_TRAILERS = bytes([HEADERS, END_HEADERS | END_STREAM])
_SIZES = {RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
"""The payloads of which one size alone is right (RFC 9113, section 6)."""


class BadFrame(Exception):  # noqa: N818 - it is the frame that is bad
    """The bytes are not HTTP/2."""


class Frame(NamedTuple):
    """One frame as it came: ``raw`` with its head. A header block comes as HEADERS with the whole block, unpadded."""

    kind: int
    flags: int
    stream: int
    raw: bytes

    @property
    def payload(self) -> bytes:
        """What is behind the head."""
        return self.raw[HEAD:]

    def content(self) -> bytes:
        """Give a DATA frame's payload without padding."""
        payload = self.raw[HEAD:]
        if self.flags & PADDED:
            return payload[1 : max(1, len(payload) - payload[0])] if payload else b""
        return payload


def whole_request(data: bytes) -> tuple[int, int] | None:
    """Give stream and end of the header block where data are HEADERS and the one DATA frame that ends the request."""
    size = len(data)
    if size < 2 * HEAD or data[3:5] != _HEADERS_ONLY or data[5] >= 0x80:
        return None
    end = HEAD + int.from_bytes(data[:3], "big")
    if data[end + 3 : end + HEAD] != _LAST_DATA + data[5:HEAD]:
        return None
    return (int.from_bytes(data[5:HEAD], "big"), end) if _ends(data, end) == size else None


def whole_answer(data: bytes) -> tuple[int, int, int] | None:
    """Give stream and ends of header block and DATA where data are HEADERS, one DATA frame and trailers."""
    size = len(data)
    if size < 3 * HEAD or data[3:5] != _HEADERS_ONLY or data[5] >= 0x80:
        return None
    stream, first = data[5:HEAD], HEAD + int.from_bytes(data[:3], "big")
    if data[first + 3 : first + HEAD] != _MORE_DATA + stream:
        return None
    second = _ends(data, first)
    if data[second + 3 : second + HEAD] != _TRAILERS + stream or _ends(data, second) != size:
        return None
    return int.from_bytes(stream, "big"), first, second


def _ends(data: bytes, at: int) -> int:
    return at + HEAD + int.from_bytes(data[at : at + 3], "big")


class FrameReader:
    """Splits a stream of bytes into frames; ``preface`` bytes are skipped at the beginning."""

    def __init__(self, *, preface: int = 0) -> None:
        self._in = b""
        self._skip = preface
        self._block: Frame | None = None

    @property
    def between(self) -> bool:
        """Whether the next byte begins a frame, and no header block is open."""
        return not self._in and not self._skip and self._block is None

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes and give the frames that are complete; raises BadFrame."""
        data = self._in + data if self._in else data
        at, size = self._skip, len(data)
        found: list[Frame] = []
        if size < at:
            self._in = data
            return found
        self._skip = 0
        while size - at >= HEAD:
            high, low, kind, flags, stream = _HEAD_OF.unpack_from(data, at)
            end = at + HEAD + (high << 8 | low)
            if end > size:
                break
            if kind in _SIZES and end - at - HEAD != _SIZES[kind]:
                raise BadFrame
            frame = Frame(kind, flags, stream & _ID, data[at:end])
            at = end
            if self._block is None and (kind not in _OF_BLOCKS or (kind == HEADERS and flags & _WHOLE == END_HEADERS)):
                found.append(frame)
            elif (block := self._assemble(frame)) is not None:
                found.append(block)
        self._in = data[at:] if at < size else b""
        return found

    def _assemble(self, frame: Frame) -> Frame | None:
        if (frame.kind == CONTINUATION) != (self._block is not None):
            raise BadFrame
        if self._block is None:
            block = frame._replace(raw=frame.raw[:HEAD] + _unpadded(frame))
        elif frame.stream != self._block.stream:
            raise BadFrame
        else:
            block = self._block._replace(raw=self._block.raw + frame.payload)
        if len(block.raw) > _BLOCK_LIMIT:
            raise BadFrame
        if frame.flags & END_HEADERS:
            self._block = None
            return block
        self._block = block
        return None


def _unpadded(frame: Frame) -> bytes:
    payload, begin, end = frame.payload, 0, None
    if frame.flags & PADDED:
        if not payload or payload[0] >= len(payload):
            raise BadFrame
        begin, end = 1, len(payload) - payload[0]
    if frame.flags & PRIORITISED:
        begin += 5
    return payload[begin:end]


def build(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Give one frame's bytes."""
    size = len(payload)
    return _HEAD_OF.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def renumbered(frame: Frame, stream: int) -> bytes:
    """Give a frame's bytes with another stream id."""
    return frame.raw if frame.stream == stream else frame.raw[:5] + stream.to_bytes(4, "big") + frame.raw[HEAD:]


def window_update(stream: int, size: int) -> bytes:
    """Give credit for so many bytes; nothing for none."""
    return build(WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big")) if size > 0 else b""


def rst_stream(stream: int, code: int) -> bytes:
    """End one stream with an error code."""
    return build(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def settings(payload: bytes) -> dict[int, int]:
    """Read a SETTINGS frame's payload."""
    if len(payload) % 6:
        raise BadFrame
    return {
        int.from_bytes(payload[at : at + 2], "big"): int.from_bytes(payload[at + 2 : at + 6], "big")
        for at in range(0, len(payload), 6)
    }
