"""HTTP/2 header blocks read, sans I/O (RFC 7541), with the table that the peer keeps.

Each header is worked out once, when it is first said: an indexed one then costs no more than a look into the table.
The tables of RFC 7541's appendices are those of the package ``hpack``.
"""

from __future__ import annotations

from collections import deque

from hpack import huffman_table as huffman
from hpack.table import HeaderTable

from pytest_chaos.wire.http2.frames import BadFrame
from pytest_chaos.wire.http2.headers import Block, Said, said

_LIST_LIMIT = 65_536
"""Bytes of a block's headers, each with 32 more (RFC 9113, 6.5.2)."""
_TABLE = 4096
_VARINT_BYTES = 5
_INDEXED, _ADDED, _RESIZED, _HUFFMAN = 0x80, 0x40, 0x20, 0x80


_STATIC = [said(name, value) for name, value in HeaderTable.STATIC_TABLE]
_DYNAMIC = _INDEXED + 1 + len(_STATIC)
"""The byte that names the newest entry of the table."""


class HeaderReader:
    """Reads one direction's header blocks; its table must see every one of them, forwarded or not."""

    _CACHED = 256

    def __init__(self) -> None:
        self._known: dict[bytes, Block] = {}
        self._entries: deque[Said] = deque()
        self._size, self._limit, self._allowed = 0, _TABLE, _TABLE

    def allow_table(self, size: int) -> None:
        """The peer was told that it may use a table of so many bytes; a smaller one it announces itself."""
        self._allowed = max(self._allowed, size)

    def read(self, block: bytes) -> Block:
        """Read a block; raises BadFrame.

        A block that left the table as it was means the same again until the table changes: those are remembered.
        """
        known = self._known.get(block)
        if known is not None:
            return known
        self._changed = False
        try:
            read = Block.of(self._read(block))
        except IndexError as wrong:
            raise BadFrame from wrong
        if self._changed or len(self._known) >= self._CACHED:
            self._known.clear()
        if not self._changed:
            self._known[block] = read
        return read

    def _read(self, block: bytes) -> list[Said]:
        """Read a block; raises BadFrame, or IndexError where it ends too early or an entry is not there."""
        found: list[Said] = []
        at, size, entries = 0, len(block), self._entries
        while at < size:
            first = block[at]
            if _INDEXED < first < 0xFF:  # an entry whose number fits in here, as nearly all do
                at += 1
                found.append(_STATIC[first - 0x81] if first < _DYNAMIC else entries[first - _DYNAMIC])
            elif first & _INDEXED:
                index, at = _integer(block, at, 0x7F)
                found.append(self._entry(index))
            elif first & _ADDED:
                one, at = self._literal(block, at, 0x3F)
                self._add(one)
                found.append(one)
            elif first & _RESIZED:
                if found:
                    raise BadFrame
                limit, at = _integer(block, at, 0x1F)
                self._resize(limit)
            else:
                one, at = self._literal(block, at, 0x0F)
                found.append(one)
        if self._limit > self._allowed or sum([one[5] for one in found]) > _LIST_LIMIT:
            raise BadFrame
        return found

    def _literal(self, block: bytes, at: int, mask: int) -> tuple[Said, int]:
        index = block[at] & mask
        if index:
            index, at = (index, at + 1) if index != mask else _integer(block, at, mask)
            name = self._entry(index)[0]
        else:
            name, at = _string(block, at + 1)
        value, at = _string(block, at)
        return said(name, value), at

    def _entry(self, index: int) -> Said:
        if index > len(_STATIC):
            return self._entries[index - len(_STATIC) - 1]
        if not index:
            raise BadFrame
        return _STATIC[index - 1]

    def _add(self, one: Said) -> None:
        self._changed = True
        self._entries.appendleft(one)
        self._size += one.size
        self._shrink()

    def _resize(self, limit: int) -> None:
        if limit > self._allowed:
            raise BadFrame
        self._changed = True
        self._limit = limit
        self._shrink()

    def _shrink(self) -> None:
        while self._size > self._limit:
            self._size -= self._entries.pop().size


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """Read a number whose first byte holds the mask's bits; give it and where it ends."""
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    for shift in range(0, 7 * _VARINT_BYTES, 7):
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise BadFrame


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    first = block[at]
    size, at = (first & 0x7F, at + 1) if first & 0x7F != 0x7F else _integer(block, at, 0x7F)
    end = at + size
    if end > len(block):
        raise BadFrame
    return (_unpacked(block[at:end]) if first & _HUFFMAN else block[at:end]), end


class _State(dict[int, "tuple[str, _State, bool]"]):
    """A state in reading a Huffman string: by the next byte what was said, the next state, whether it may end there.

    Filled as it is used, from a table of half bytes: nobody needs all 65,536 steps.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def __missing__(self, byte: int) -> tuple[str, _State, bool]:
        state, text, flags = self._number, "", 0
        for half in (byte >> 4, byte & 0xF):
            state, flags, symbol = huffman.HUFFMAN_TABLE[state * 16 + half]
            if flags & huffman.HUFFMAN_FAIL:
                raise BadFrame
            if flags & huffman.HUFFMAN_EMIT_SYMBOL:
                text += chr(symbol)
        step = self[byte] = text, _STATES[state], bool(flags & huffman.HUFFMAN_COMPLETE)
        return step


_STATES = [_State(number) for number in range(len(huffman.HUFFMAN_TABLE) // 16)]


def _unpacked(data: bytes) -> bytes:
    """Read a Huffman string (RFC 7541, 5.2)."""
    state, whole, out = _STATES[0], True, ""
    for byte in data:
        text, state, whole = state[byte]
        out += text  # which for text, other than for bytes, does not copy
    if not whole:
        raise BadFrame
    return out.encode("latin-1")
