"""RESP2 and RESP3 cut into values, sans I/O: nothing is built of them but their first few small scalars.

The grammar is the Redis serialization protocol specification's (redis.io, "RESP protocol specification"). Nesting is no
recursion here but one number: how many values are still to come until the outermost one is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_chaos.wire.framed.reader import BadFrame

COLLECTED = 256 * 1024
"""Bytes of one value that are collected; a larger one is given in parts."""
KEPT = 64
"""Scalars at a value's beginning that are kept."""
_SMALL = 1024
"""A scalar of more bytes is not kept: the empty one stands for it."""
_DIGITS = 18
_LINE, _BULK, _MANY = b"+-:_#,(", b"$!=", b"*~>"
_MAP, _ATTRIBUTE, _ARRAY, _STRING = ord("%"), ord("|"), ord("*"), ord("$")
_TLS = 0x16
_Bytes = bytes | bytearray


@dataclass(slots=True)
class Piece:
    """A value, or a part of a large one.

    ``kind`` is the value's first byte (an attribute's in front of it does not count), ``items`` its first scalars, as
    many as this piece and those before it held; ``first`` and ``more`` tell where in the value the piece stands.
    """

    raw: bytes
    kind: int
    items: list[bytes]
    first: bool
    more: bool


@dataclass(slots=True)
class Scanner:
    """One direction. With ``inline``, a value that is no array is a line of words, as Redis takes commands."""

    inline: bool = False
    _data: bytearray = field(default_factory=bytearray)
    """What is in no piece yet; grown in place, since a value may come in very small pieces."""
    _at: int = 0
    """How far of it has been read."""
    _sought: int = 0
    """From where on it may hold the end of the line that is being read."""
    _left: int = 1
    """Values to come until the outermost one is complete."""
    _skip: int = 0
    """Bytes of a bulk string to come, its line end included."""
    _kind: int = 0
    _items: list[bytes] = field(default_factory=list)
    _parts: bool = False

    def feed(self, data: bytes) -> list[Piece]:
        """Take bytes, give what is complete. Raises BadFrame, having given nothing and kept all."""
        if not self._data:
            try:
                return self._cut(data)
            except BadFrame:
                self._data[:] = data
                raise
        self._data += data
        return self._cut(self._data)

    def _cut(self, data: _Bytes) -> list[Piece]:
        pieces: list[Piece] = []
        start, at, end = 0, self._at, len(data)
        while True:
            if self._skip:
                step = min(self._skip, end - at)
                at += step
                self._skip -= step
                if self._skip:
                    break
            if not self._left:
                pieces.append(self._piece(bytes(data[start:at]), more=False))
                start = at
            if at == end:
                break
            if at == start and not self._parts and (whole := _whole(data, at)):
                at, self._items = whole
                pieces.append(Piece(bytes(data[start:at]), _ARRAY, self._items, first=True, more=False))
                self._items, start = [], at
                continue
            then = self._read(data, at)
            if then < 0:
                break
            at, self._sought = then, 0
        if at > start and (self._parts or at - start > COLLECTED):
            pieces.append(self._piece(bytes(data[start:at]), more=True))
            start = at
        self._at = at - start
        self._have(data, start)
        return pieces

    def _have(self, data: _Bytes, start: int) -> None:
        """Keep what is in no piece yet."""
        self._sought = max(0, self._sought - start)
        if data is self._data:
            del self._data[:start]
        elif start < len(data):
            self._data[:] = data[start:]

    def unread(self) -> bytes:
        """Give and forget what is in no piece yet."""
        data, self._at, self._sought = bytes(self._data), 0, 0
        self._data.clear()
        return data

    @property
    def idle(self) -> bool:
        """Whether nothing of a value has come that is not given."""
        return not (self._data or self._parts)

    def keep(self, data: bytes) -> None:
        """Take bytes, while idle, that are not to be read."""
        self._data[:] = data

    def take_back(self, pieces: list[Piece]) -> None:
        """Undo the giving of the pieces that were given last."""
        self._data[:0] = b"".join([piece.raw for piece in pieces])

    def _piece(self, raw: bytes, *, more: bool) -> Piece:
        piece = Piece(raw, self._kind, self._items, not self._parts, more)
        self._parts = more
        if not more:
            self._left, self._kind, self._items = 1, 0, []
        return piece

    def _read(self, data: _Bytes, at: int) -> int:
        """Read one value's beginning (of a scalar all, but for a bulk string's bytes); -1: it is not all here."""
        kind = data[at]
        if self.inline and not self._kind and kind != _ARRAY:
            return self._line(data, at)
        eol = data.find(b"\r\n", max(at + 1, self._sought))
        if kind in _LINE:
            if eol < 0:
                if len(data) - at > COLLECTED:
                    raise BadFrame("a line without end")
                return self._no_end(data)
            self._begin(kind)
            self._keep(data[at + 1 : min(eol, at + _SMALL)])
            self._left -= 1
            return eol + 2
        if (eol if eol >= 0 else len(data)) - at > _DIGITS + 3:
            raise BadFrame("no RESP")
        if kind not in _BULK and kind not in _MANY and kind not in (_MAP, _ATTRIBUTE):
            raise BadFrame("no RESP")
        if eol < 0:
            return self._no_end(data)
        size = _number(data[at + 1 : eol])
        if kind in _BULK:
            return self._bulk(data, kind, eol + 2, size)
        self._begin(kind)
        if kind == _ATTRIBUTE:
            self._left += 2 * max(size, 0)
        else:
            self._left += max(size, 0) * (2 if kind == _MAP else 1) - 1
        return eol + 2

    def _bulk(self, data: _Bytes, kind: int, at: int, size: int) -> int:
        if 0 <= size <= _SMALL and len(self._items) < KEPT and len(data) < at + size:
            return -1  # it may be one to keep: wait for all of it
        self._begin(kind)
        self._left -= 1
        if size >= 0:
            self._keep(data[at : at + size] if size <= _SMALL else b"")
            self._skip = size + 2
        return at

    def _line(self, data: _Bytes, at: int) -> int:
        eol = data.find(b"\n", max(at, self._sought))
        if not 0x20 <= data[at] < 0x7F and data[at] not in b"\r\n\t":
            raise BadFrame("TLS" if data[at] == _TLS else "no RESP")
        if eol < 0:
            if len(data) - at > COLLECTED:
                raise BadFrame("a line without end")
            return self._no_end(data)
        self._items = [word if len(word) <= _SMALL else b"" for word in bytes(data[at:eol]).split()[:KEPT]]
        self._left = 0
        return eol + 1

    def _no_end(self, data: _Bytes) -> int:
        """Say that a line's end is not here, and where to look for it next time."""
        self._sought = len(data) - 1
        return -1

    def _begin(self, kind: int) -> None:
        if not self._kind:
            self._kind = kind
        elif self._kind == _ATTRIBUTE and self._left == 1:  # the attribute is over: this is what it is about
            self._kind, self._items = kind, []

    def _keep(self, scalar: _Bytes) -> None:
        if len(self._items) < KEPT:
            self._items.append(bytes(scalar) if len(scalar) <= _SMALL else b"")


_PARTS = {b"*%d" % count: 2 * count + 2 for count in range(1, KEPT + 1)}
"""Into how many parts the ends of its lines cut an array of bulk strings, by its head."""
_HEADS = [b"$%d" % size for size in range(_SMALL + 1)]
"""How a bulk string of so many bytes begins."""


def words_of(data: bytes) -> list[bytes] | None:
    """Read one command that is all of the data, as nearly every reading brings one; None: it is not so, or not simple.

    An array of small bulk strings without a line end in them, which is cut at line ends and held against the lengths.
    """
    parts = data.split(b"\r\n", 2 * KEPT + 1)
    if len(parts) != _PARTS.get(parts[0]) or parts[-1]:  # something is missing, or comes behind it
        return None
    words, at = parts[2::2], 1
    for word in words:
        if len(word) > _SMALL or parts[at] != _HEADS[len(word)]:
            return None
        at += 2
    return words


def one_answer(data: bytes) -> bool:
    """Whether the data are one status, number or bulk string and nothing else; False: they are not, or not simple."""
    if data[:1] == b"$":
        eol = data.find(b"\r\n", 1, _DIGITS)
        digits = data[1:eol]
        return eol > 0 and digits.isdigit() and eol + 4 + int(digits) == len(data)
    return data[:1] in (b"+", b":") and 0 < data.find(b"\r\n") == len(data) - 2


def _whole(data: _Bytes, at: int) -> tuple[int, list[bytes]] | None:
    """Read an array of a few small bulk strings at one go, as nearly all commands are; None: it is none, or not here.

    Nothing depends on this but speed.
    """
    if data[at] != _ARRAY:
        return None
    eol = data.find(b"\r\n", at, at + _DIGITS)
    digits = data[at + 1 : eol]
    if eol < 0 or not digits.isdigit() or not 0 < (count := int(digits)) <= KEPT:
        return None
    items = []
    for _ in range(count):
        at = eol + 2
        eol = data.find(b"\r\n", at, at + _DIGITS)
        digits = data[at + 1 : eol]
        if eol < 0 or data[at] != _STRING or not digits.isdigit() or (size := int(digits)) > _SMALL:
            return None
        at = eol + 2
        items.append(bytes(data[at : at + size]))
        eol = at + size
    at = eol + 2
    return None if at > len(data) else (at, items)


def _number(digits: _Bytes) -> int:
    """Read a length; -1 is null (RESP2)."""
    if digits.isdigit() and len(digits) <= _DIGITS:
        return int(digits)
    if digits == b"-1":
        return -1
    raise BadFrame("no RESP")
