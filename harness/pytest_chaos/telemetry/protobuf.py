"""As much of protobuf's wire format as OTLP traces need: fields of a message by number.

Source: the encoding page of the Protocol Buffers documentation. Own, since the generated classes would be a dependency
of every run, and a trace is five small messages.
"""

from __future__ import annotations

from collections.abc import Iterator

Value = int | memoryview
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_SHIFT = 63


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Give (field number, value) in the order of the bytes: numbers unsigned, everything else as bytes.

    Raises ValueError when the bytes are not a message.
    """
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            msg = f"wire type {kind} at byte {at}"
            raise ValueError(msg)
        if number == 0 or at + size > end:
            msg = f"field {number} at byte {at} runs over the end"
            raise ValueError(msg)
        part = message[at : at + size]
        yield number, part if kind == _BYTES else int.from_bytes(part, "little")
        at += size


def signed(value: Value) -> int:
    """Read a varint as the int64 that it encodes."""
    number = whole(value)
    return number - (1 << 64) if number >= 1 << 63 else number


def whole(value: Value) -> int:
    """Give a number; raise ValueError when the field is of another kind."""
    if isinstance(value, int):
        return value
    msg = "a number was expected"
    raise ValueError(msg)


def part(value: Value) -> memoryview:
    """Give a nested message's or a string's bytes; raise ValueError when the field is of another kind."""
    if isinstance(value, memoryview):
        return value
    msg = "bytes were expected"
    raise ValueError(msg)


def text(value: Value) -> str:
    """Give a string; what is not UTF-8 is replaced."""
    return str(part(value), "utf-8", "replace")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    result = shift = 0
    while at < len(message) and shift <= _MOST_SHIFT:
        byte = message[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    msg = f"a number is cut off at byte {at}"
    raise ValueError(msg)
