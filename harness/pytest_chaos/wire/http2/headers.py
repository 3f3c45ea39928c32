"""HTTP/2 header blocks, sans I/O (RFC 7541): what they mean, and how they are written without a table."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from typing import NamedTuple

from pytest_chaos.wire.http2.frames import CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_LIMIT, HEADERS, build
from pytest_chaos.wire.record import REQUEST_HEADERS, RESPONSE_HEADERS, Told, joined

Header = tuple[bytes, bytes]
_HEAD_OF = struct.Struct(">BHBBI")
_OVERHEAD = 32
_LENGTHS = [bytes([size]) for size in range(0x7F)]


class Said(NamedTuple):
    """A header, its name and value as text, how we write it, and what it takes of a table (RFC 7541, 4.1)."""

    name: bytes
    value: bytes
    key: str
    text: str
    literal: bytes
    size: int


def said(name: bytes, value: bytes) -> Said:
    """Work a header out; it is written as a literal without indexing, without Huffman (RFC 7541, 6.2.2)."""
    key, head = _named(name)
    size = len(value)
    literal = head + _length(size) + value
    # As Said(...) does it, for half of what that costs: one is made for each header that is new, as each trace is.
    return tuple.__new__(Said, (name, value, key, value.decode("latin-1"), literal, len(name) + size + _OVERHEAD))


@functools.lru_cache(maxsize=1024)
def _named(name: bytes) -> tuple[str, bytes]:
    return name.decode("latin-1"), b"\0" + _length(len(name)) + name


def _length(size: int) -> bytes:
    if size < 0x7F:
        return _LENGTHS[size]
    out, size = bytearray([0x7F]), size - 0x7F
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(out) + bytes([size])


class Block:
    """A header block's meaning: ``headers`` in order, ``fields`` by name (repeats joined), and how we write it.

    ``status`` and ``grpc_status`` are None where they are missing or no number.
    """

    __slots__ = ("_answered", "_asked", "_kind", "_last", "_numbers", "_said", "fields", "literals")

    def __init__(self, headers: Sequence[Header]) -> None:
        self._work_out([said(name, value) for name, value in headers])

    @classmethod
    def of(cls, headers: list[Said]) -> Block:
        """Make one of headers that are worked out."""
        block = cls.__new__(cls)
        block._work_out(headers)  # noqa: SLF001 - its own
        return block

    def _work_out(self, headers: list[Said]) -> None:
        self._said = headers
        self.fields = {one[2]: one[3] for one in headers}
        if len(self.fields) != len(headers):
            self.fields = joined((one.key, one.text) for one in headers)
        self.literals = b"".join([one[4] for one in headers])
        self._numbers: tuple[int | None, int | None] | None = None
        self._asked: dict[str, str] | None = None
        self._answered: dict[str, str] | None = None
        self._kind: tuple[str, str] | None = None
        self._last: tuple[Block, dict[str, str]] | None = None

    def _number(self, name: str) -> int | None:
        text = self.fields.get(name)
        return int(text) if text is not None and text.isdecimal() else None

    @property
    def status(self) -> int | None:
        """The HTTP status."""
        return (self._numbers or self._find_numbers())[0]

    @property
    def grpc_status(self) -> int | None:
        """The gRPC status."""
        return (self._numbers or self._find_numbers())[1]

    def _find_numbers(self) -> tuple[int | None, int | None]:
        """Only answers have them, and those are the same few: they are looked for when they are asked for."""
        self._numbers = found = self._number(":status"), self._number("grpc-status")
        return found

    @property
    def kind(self) -> tuple[str, str]:
        """Of a request, the protocol and the operation."""
        if self._kind is None:
            bare = self.fields.get(":path", "").partition("?")[0]
            grpc = self.fields.get("content-type", "").startswith("application/grpc")
            self._kind = ("grpc", bare) if grpc else ("h2", f"{self.fields.get(':method', '')} {bare}")
        return self._kind

    @property
    def headers(self) -> list[Header]:
        """The headers as they came."""
        return [(one.name, one.value) for one in self._said]

    @property
    def asked(self) -> dict[str, str]:
        """Of a request, those that are recorded; not to be changed."""
        if self._asked is None:
            self._asked = {name: value for name, value in self.fields.items() if name in REQUEST_HEADERS}
        return self._asked

    @property
    def answered(self) -> dict[str, str]:
        """Of an answer or its trailers, those that are recorded; not to be changed."""
        if self._answered is None:
            self._answered = Told({name: value for name, value in self.fields.items() if name in RESPONSE_HEADERS})
        return self._answered

    def answered_with(self, trailers: Block) -> dict[str, str]:
        """Give those of an answer's headers and of its trailers; not to be changed."""
        if self._last is None or self._last[0] is not trailers:
            self._last = trailers, Told({**self.answered, **trailers.answered})
        return self._last[1]

    def edited(self, name: str, value: str | None, *, add: bool) -> Block:
        """Give the block with one header dropped (None) or rewritten, and (``add``) added where it is missing."""
        key, headers = name.encode("latin-1", "replace"), self.headers
        kept = [pair for pair in headers if pair[0] != key]
        if value is not None and (add or len(kept) < len(headers)):
            kept.append((key, value.encode("latin-1", "replace")))
        return self if kept == headers else Block(kept)


class HeaderWriter:
    """Encodes header blocks without a table: literals depend neither on what was sent before nor on settings."""

    def __init__(self) -> None:
        self._begun = False

    def message(self, stream: int, headers: Block, content: bytes, trailers: Block | None = None) -> bytes:
        """Give HEADERS and DATA, and, where there are trailers, those; what comes last ends the stream."""
        begin, size, flags = headers.literals, len(content), END_STREAM if trailers is None else 0
        end = b"" if trailers is None else trailers.literals
        if not self._begun or len(begin) > FRAME_LIMIT or len(end) > FRAME_LIMIT:
            said = self.frames(stream, headers, end=False) + build(DATA, flags, stream, content)
            return said if trailers is None else said + self.frames(stream, trailers, end=True)
        parts = [
            _HEAD_OF.pack(0, len(begin), HEADERS, END_HEADERS, stream),
            begin,
            _HEAD_OF.pack(size >> 16, size & 0xFFFF, DATA, flags, stream),
            content,
        ]
        if trailers is not None:
            parts += (_HEAD_OF.pack(0, len(end), HEADERS, END_HEADERS | END_STREAM, stream), end)
        return b"".join(parts)

    def frames(self, stream: int, headers: Block, *, end: bool) -> bytes:
        """Give HEADERS (and CONTINUATION) frames; the first sets the table's size to 0, so that no setting matters."""
        block = headers.literals
        if not self._begun:
            self._begun, block = True, b"\x20" + block
        flags = END_STREAM if end else 0
        if len(block) <= FRAME_LIMIT:
            return build(HEADERS, flags | END_HEADERS, stream, block)
        parts = [block[at : at + FRAME_LIMIT] for at in range(0, len(block), FRAME_LIMIT)]
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
