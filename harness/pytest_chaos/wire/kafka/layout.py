"""Layouts of Kafka's messages, written as short strings, and the walk along them. Pure.

A layout lists a message's fields in their order, as far as anybody needs them::

    b h i q   whole numbers of 1, 2, 4, 8 bytes      u   a UUID, 16 bytes
    s         a string or null                       y   bytes, records, or null
    [ ]       an array of structs                    *x  an array of the plain type x
    ( )       a struct                               { } at the end: what the tagged field 0 holds

Lower-case fields are passed over. Capitals are given to whoever walks: ``A`` and ``E`` (int16: acks, error code), ``N``
and ``P`` (int32: node id, port), ``H`` and ``S`` (strings: host, subject), ``U`` (UUID: topic id), ``R`` (records); so
is the size of a tagged field that is walked into, as ``T``.
In a flexible version sizes are unsigned varints, one more than the size (KIP-482), and every struct ends with tagged
fields.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

Op = tuple[str, Any]
Seen = tuple[str, int, int, Any]
"""A capital of the layout: its letter, where its bytes begin and end (size included), its value: of ``R`` the place
where its records begin."""

_FIXED = {"b": 1, "h": 2, "i": 4, "q": 8, "u": 16}
_TYPES = {"A": "h", "E": "h", "N": "i", "P": "i", "H": "s", "S": "s", "U": "u", "R": "y"}
_CLOSES = {"[": "]", "(": ")", "{": "}"}
_VARINT_BYTES = 5


class Short(ValueError):  # noqa: N818 - it says what the message is
    """The message ends, or makes no sense, before the layout does."""


@functools.lru_cache(maxsize=512)
def compiled(layout: str) -> tuple[Op, ...]:
    """Turn a layout into steps; runs of fixed sizes become one."""
    ops, rest = _group(layout, "")
    assert not rest, f"{layout!r}: {rest!r} is too much"
    return ops


def _group(text: str, until: str) -> tuple[tuple[Op, ...], str]:
    ops: list[Op] = []
    while text and text[0] != until:
        letter, text = text[0], text[1:]
        if letter in _CLOSES:
            inner, text = _group(text, _CLOSES[letter])
            ops.append((letter, inner))
        elif letter == "*":
            ops.append(("*", text[0]))
            text = text[1:]
        elif letter not in _FIXED:
            ops.append((letter, None))
        elif ops and ops[-1][0] == "skip":
            ops[-1] = ("skip", ops[-1][1] + _FIXED[letter])
        else:
            ops.append(("skip", _FIXED[letter]))
    return tuple(ops), text[1:]


def typed(layout: str) -> str:
    """Give the layout with every capital as the type that it has."""
    return "".join(_TYPES.get(letter, letter) for letter in layout)


class Cursor:
    """A place in a message. Raises Short rather than leave the data."""

    __slots__ = ("at", "data", "end", "flexible")

    def __init__(self, data: bytes, at: int, *, flexible: bool) -> None:
        self.data, self.at, self.end, self.flexible = data, at, len(data), flexible

    def skip(self, size: int) -> int:
        """Go on by so many bytes; give where they begin."""
        at = self.at
        if size < 0 or at + size > self.end:
            msg = f"{size} bytes at {at} of {self.end}"
            raise Short(msg)
        self.at = at + size
        return at

    def number(self, size: int) -> int:
        """Read a signed whole number, big-endian."""
        at = self.skip(size)
        return int.from_bytes(self.data[at : self.at], "big", signed=True)

    def varint(self) -> int:
        """Read an unsigned varint of up to 32 bits, low groups first."""
        at = self.at
        if at < self.end and self.data[at] < 0x80:  # nearly all are one byte
            self.at = at + 1
            return self.data[at]
        value = 0
        for shift in range(0, 7 * _VARINT_BYTES, 7):
            byte = self.data[self.skip(1)]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        msg = f"a varint of more than {_VARINT_BYTES} bytes at {self.at}"
        raise Short(msg)

    def size(self, fixed: int) -> int:
        """Read the size of a string (``fixed`` 2), of bytes or an array (4); -1: null."""
        return self.varint() - 1 if self.flexible else self.number(fixed)

    def text(self) -> str:
        """Read a string; null is the empty one."""
        size = max(self.size(2), 0)
        at = self.skip(size)
        return self.data[at : self.at].decode("utf-8", "replace")

    def records(self) -> tuple[int, int]:
        """Read the size of records; give where they begin and end, which is here or where the data end."""
        size = max(self.size(4), 0)
        return self.at, min(self.at + size, self.end)

    def past_tags(self) -> None:
        """Pass a struct's tagged fields over."""
        for _ in range(self.varint()):
            self.varint()
            self.skip(self.varint())


def walk(layout: str, data: bytes, at: int, *, flexible: bool) -> Iterator[Seen]:
    """Walk along a message that begins at ``at``; give what the layout has in capitals, in order.

    Raises Short when the data end first: what was given until then is well.
    """
    cursor = Cursor(data, at, flexible=flexible)
    return _walk(compiled(layout), cursor)


def _walk(ops: tuple[Op, ...], cursor: Cursor) -> Iterator[Seen]:  # noqa: C901, PLR0912 - one branch for each letter
    for letter, more in ops:
        if letter == "skip":
            cursor.at += more
            if cursor.at > cursor.end:
                msg = f"{more} bytes more than {cursor.end}"
                raise Short(msg)
            continue
        start = cursor.at
        match letter:
            case "s" | "y":
                cursor.skip(max(cursor.size(2 if letter == "s" else 4), 0))
            case "A" | "E":
                yield letter, start, start + 2, cursor.number(2)
            case "N" | "P":
                yield letter, start, start + 4, cursor.number(4)
            case "H" | "S":
                value = cursor.text()
                yield letter, start, cursor.at, value
            case "U":
                cursor.skip(16)
                yield letter, start, cursor.at, cursor.data[start : cursor.at]
            case "R":  # may end beyond what is here: their beginning is of use
                begin, cursor.at = cursor.records()
                yield letter, start, cursor.at, begin
            case "*":
                count = max(cursor.size(4), 0)
                if more == "s":
                    for _ in range(count):
                        cursor.skip(max(cursor.size(2), 0))
                else:
                    cursor.skip(count * _FIXED[more])
            case "[":
                for _ in range(max(cursor.size(4), 0)):
                    yield from _walk(more, cursor)
                    if cursor.flexible:
                        cursor.past_tags()
            case "(":
                yield from _walk(more, cursor)
                if cursor.flexible:
                    cursor.past_tags()
            case "{":
                yield from _tagged(more, cursor)


def _tagged(ops: tuple[Op, ...], cursor: Cursor) -> Iterator[Seen]:
    """Walk into field 0 of a struct's tagged fields and pass the others over."""
    for _ in range(cursor.varint()):
        tag, start = cursor.varint(), cursor.at
        size, at = cursor.varint(), cursor.at
        cursor.skip(size)
        if tag == 0:
            yield "T", start, at, size
            cursor.at = at
            yield from _walk(ops, cursor)
            cursor.at = at + size
