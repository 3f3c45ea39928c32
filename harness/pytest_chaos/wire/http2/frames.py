"""HTTP/2 frames and header blocks, sans I/O (RFC 9113, RFC 7541): split, read, build."""

from __future__ import annotations

import functools
from typing import NamedTuple

import hpack

from pytest_chaos.wire.record import joined

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITISED = 0x4, 0x8, 0x20
NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0, 2, 7, 8
HEADER_TABLE_SIZE, ENABLE_PUSH = 1, 2
HEAD = 9
"""Bytes of a frame's head."""
_BLOCK_LIMIT = 256 * 1024
_FRAME_LIMIT = 16_384
_ID = 0x7FFFFFFF
_OF_BLOCKS = frozenset({HEADERS, CONTINUATION})
_SIZES = {RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
"""The payloads of which one size alone is right (RFC 9113, section 6)."""

Header = tuple[bytes, bytes]


class Block:
    """A header block's meaning: ``headers`` in order, ``fields`` by name (repeats joined), and how we write it."""

    __slots__ = ("fields", "headers", "literals")

    def __init__(self, headers: list[Header]) -> None:
        self.headers = headers
        self.fields = joined((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
        self.literals = b"".join([_literal(name, value) for name, value in headers])

    def edited(self, name: str, value: str | None, *, add: bool) -> Block:
        """Give the block with one header dropped (None) or rewritten, and (``add``) added where it is missing."""
        key = name.encode("latin-1", "replace")
        kept = [pair for pair in self.headers if pair[0] != key]
        if value is not None and (add or len(kept) < len(self.headers)):
            kept.append((key, value.encode("latin-1", "replace")))
        return self if kept == self.headers else Block(kept)


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


class FrameReader:
    """Splits a stream of bytes into frames; ``preface`` bytes are skipped at the beginning."""

    def __init__(self, *, preface: int = 0) -> None:
        self._in = b""
        self._skip = preface
        self._block: Frame | None = None

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
            end = at + HEAD + int.from_bytes(data[at : at + 3], "big")
            if end > size:
                break
            kind = data[at + 3]
            if kind in _SIZES and end - at - HEAD != _SIZES[kind]:
                raise BadFrame
            frame = Frame(kind, data[at + 4], int.from_bytes(data[at + 5 : at + HEAD], "big") & _ID, data[at:end])
            at = end
            if self._block is None and kind not in _OF_BLOCKS:
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


class HeaderReader:
    """Decodes one direction's header blocks; the decoder's table must see every one of them, forwarded or not."""

    _CACHED = 256

    def __init__(self) -> None:
        self._decoder = hpack.Decoder()
        self._known: dict[bytes, Block] = {}

    def allow_table(self, size: int) -> None:
        """The peer was told that it may use a table of so many bytes; a smaller one it announces itself."""
        self._decoder.max_allowed_table_size = max(self._decoder.max_allowed_table_size, size)

    def read(self, block: bytes) -> Block:
        """Decode a block; raises BadFrame.

        A block that left the table as it was means the same again until the table changes: those are remembered.
        """
        known = self._known.get(block)
        if known is not None:
            return known
        table = self._decoder.header_table
        before = (
            len(table.dynamic_entries),
            table.dynamic_entries[0] if table.dynamic_entries else None,
            table.maxsize,
        )
        try:
            read = Block([(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)])
        except hpack.HPACKError as wrong:
            raise BadFrame from wrong
        after = (len(table.dynamic_entries), table.dynamic_entries[0] if table.dynamic_entries else None, table.maxsize)
        if (
            before[0] != after[0]
            or before[1] is not after[1]
            or before[2] != after[2]
            or len(self._known) >= self._CACHED
        ):
            self._known.clear()
        if before[0] == after[0] and before[1] is after[1] and before[2] == after[2]:
            self._known[block] = read
        return read


class HeaderWriter:
    """Encodes header blocks without a table: literals depend neither on what was sent before nor on settings."""

    def __init__(self) -> None:
        self._begun = False

    def frames(self, stream: int, headers: Block, *, end: bool) -> bytes:
        """Give HEADERS (and CONTINUATION) frames; the first sets the table's size to 0, so that no setting matters."""
        block = headers.literals
        if not self._begun:
            self._begun, block = True, b"\x20" + block
        flags = END_STREAM if end else 0
        if len(block) <= _FRAME_LIMIT:
            return build(HEADERS, flags | END_HEADERS, stream, block)
        parts = [block[at : at + _FRAME_LIMIT] for at in range(0, len(block), _FRAME_LIMIT)]
        last = len(parts) - 1
        return b"".join(
            build(
                CONTINUATION if number else HEADERS,
                (0 if number else flags) | (END_HEADERS if number == last else 0),
                stream,
                part,
            )
            for number, part in enumerate(parts)
        )


@functools.lru_cache(maxsize=4096)
def _literal(name: bytes, value: bytes) -> bytes:
    """Encode one header as a literal without indexing, without Huffman (RFC 7541, 6.2.2)."""
    return b"\0" + _length(len(name)) + name + _length(len(value)) + value


def _length(size: int) -> bytes:
    if size < 0x7F:
        return bytes([size])
    out, size = bytearray([0x7F]), size - 0x7F
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(out) + bytes([size])


def build(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Give one frame's bytes."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


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
