"""HTTP/2 header blocks, sans I/O (RFC 7541): what they mean, and how they are written without a table."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from pytest_chaos.wire.http2.frames import CONTINUATION, END_HEADERS, END_STREAM, FRAME_LIMIT, HEADERS, build
from pytest_chaos.wire.record import REQUEST_HEADERS, RESPONSE_HEADERS, joined

Header = tuple[bytes, bytes]
_LENGTHS = [bytes([size]) for size in range(0x7F)]


class Said(NamedTuple):
    """A header, its name and value as text, and how we write it."""

    name: bytes
    value: bytes
    key: str
    text: str
    literal: bytes


def said(name: bytes, value: bytes) -> Said:
    """Work a header out; it is written as a literal without indexing, without Huffman (RFC 7541, 6.2.2)."""
    key, head = _named(name)
    return Said(name, value, key, value.decode("latin-1"), head + _length(len(value)) + value)


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

    __slots__ = ("_answered", "_asked", "_said", "fields", "grpc_status", "literals", "status")

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
        self.fields = {key: text for _, _, key, text, _ in headers}
        if len(self.fields) != len(headers):
            self.fields = joined((one.key, one.text) for one in headers)
        self.literals = b"".join([one[4] for one in headers])
        self.status, self.grpc_status = self._number(":status"), self._number("grpc-status")
        self._asked: dict[str, str] | None = None
        self._answered: dict[str, str] | None = None

    def _number(self, name: str) -> int | None:
        text = self.fields.get(name)
        return int(text) if text is not None and text.isdecimal() else None

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
            self._answered = {name: value for name, value in self.fields.items() if name in RESPONSE_HEADERS}
        return self._answered

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
