"""Values of AMQP 0-9-1 as RabbitMQ encodes them: strings, a method's arguments, a message's properties. Pure.

The grammar is section 4.2 of the AMQP 0-9-1 specification; the types of a table's fields are those of RabbitMQ, which
differ from the specification's.
"""

from __future__ import annotations

import functools

from pytest_chaos.wire.framed.reader import BadFrame
from pytest_chaos.wire.record import REQUEST_HEADERS

_FIXED = {
    ord(kind): size
    for kind, size in {
        "t": 1, "b": 1, "B": 1, "s": 2, "u": 2, "I": 4, "i": 4, "f": 4, "D": 5, "l": 8, "L": 8, "d": 8, "T": 8, "V": 0,
    }.items()
}  # fmt: skip
"""Bytes of a field's value, by its type; S, x (bytes), F (table) and A (array) begin with their length."""
_COUNTED, _STRINGS = b"SxFA", b"Sx"
_HEADERS, _CORRELATION_ID, _MESSAGE_ID = 0x2000, 0x0400, 0x0080
_OURS = _HEADERS | _CORRELATION_ID | _MESSAGE_ID
_BEFORE_HEADERS = (0x8000, 0x4000)
"""content-type, content-encoding: short strings."""
_BEFORE_CORRELATION_ID = (0x1000, 0x0800)
"""delivery-mode, priority: a byte each."""
_BEFORE_MESSAGE_ID = (0x0200, 0x0100)
"""reply-to, expiration: short strings."""


def short_string(data: bytes, at: int) -> tuple[str, int]:
    """Read a short string; give it and the place behind it. Raises BadFrame."""
    try:
        end = at + 1 + data[at]
    except IndexError:
        raise BadFrame("malformed method") from None
    if end > len(data):
        raise BadFrame("malformed method")
    return data[at + 1 : end].decode("utf-8", "replace"), end


def number(data: bytes, at: int, size: int) -> int:
    """Read an unsigned number of so many bytes. Raises BadFrame."""
    if at + size > len(data):
        raise BadFrame("malformed method")
    return int.from_bytes(data[at : at + size], "big")


def properties(data: bytes, at: int) -> dict[str, str]:
    """Read what identifies a message from its properties, which begin with their flags.

    Gives the headers that wire records (lower-case names; a name that repeats: the first), ``message-id``, and the
    correlation ID as ``x-correlation-id`` where no header has that name. Properties that cannot be read are passed
    over: to refuse them is the broker's business.
    """
    found: dict[str, str] = {}
    if len(data) < at + 2:
        return found
    flags = int.from_bytes(data[at : at + 2], "big")
    if not flags & _OURS or flags & 1:  # a second word of flags: no property of AMQP 0-9-1 needs one
        return found
    at += 2
    try:
        for flag in _BEFORE_HEADERS:
            at += 1 + data[at] if flags & flag else 0
        if flags & _HEADERS:
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            _table(data, at + 4, min(end, len(data)), found)
            at = end
        at += bool(flags & _BEFORE_CORRELATION_ID[0]) + bool(flags & _BEFORE_CORRELATION_ID[1])
        if flags & _CORRELATION_ID:
            correlation_id, at = short_string(data, at)
            found.setdefault("x-correlation-id", correlation_id)
        if flags & _MESSAGE_ID:
            for flag in _BEFORE_MESSAGE_ID:
                at += 1 + data[at] if flags & flag else 0
            found["message-id"], at = short_string(data, at)
    except (BadFrame, IndexError):
        pass
    return found


def _table(data: bytes, at: int, end: int, found: dict[str, str]) -> None:
    """Collect a table's strings that wire records, up to the first field that cannot be read."""
    length = len(data)
    while at < end:
        stop = at + 1 + data[at]
        if stop > length:
            raise BadFrame("malformed table")
        name = data[at + 1 : stop]
        if stop == length:
            return
        kind, at = data[stop], stop + 1
        if kind in _COUNTED:
            size = int.from_bytes(data[at : at + 4], "big")
            at += 4
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            return
        if at + size > end:
            return
        if kind in _STRINGS and (lower := _wanted(name)):
            found.setdefault(lower, data[at : at + size].decode("utf-8", "replace"))
        at += size


@functools.lru_cache(maxsize=256)
def _wanted(name: bytes) -> str:
    """Give a header's name in lower case if it is one that wire records, else nothing."""
    lower = name.decode("utf-8", "replace").lower()
    return lower if lower in REQUEST_HEADERS else ""


def strings(data: bytes, at: int, count: int) -> tuple[list[str], int]:
    """Read so many short strings; give them and the place behind them. Raises BadFrame."""
    found: list[str] = []
    for _ in range(count):
        text, at = short_string(data, at)
        found.append(text)
    return found, at


REPLIES: dict[int, str] = {
    311: "CONTENT_TOO_LARGE", 312: "NO_ROUTE", 313: "NO_CONSUMERS", 320: "CONNECTION_FORCED", 402: "INVALID_PATH",
    403: "ACCESS_REFUSED", 404: "NOT_FOUND", 405: "RESOURCE_LOCKED", 406: "PRECONDITION_FAILED", 501: "FRAME_ERROR",
    502: "SYNTAX_ERROR", 503: "COMMAND_INVALID", 504: "CHANNEL_ERROR", 505: "UNEXPECTED_FRAME", 506: "RESOURCE_ERROR",
    530: "NOT_ALLOWED", 540: "NOT_IMPLEMENTED", 541: "INTERNAL_ERROR",
}  # fmt: skip
"""The specification's words for reply codes."""


def reply(data: bytes) -> str:
    """Give the word for the code that a close or a return begins with; ``closed`` for one that means no error."""
    code = number(data, 0, 2)
    return "closed" if code == 200 else REPLIES.get(code, str(code))
