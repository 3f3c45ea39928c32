"""The headers of a batch's first record, as far as they say whose it is. Pure.

A batch (magic 2, KIP-98) has a head of 61 bytes, then records whose numbers are zigzag varints. One that is compressed
with gzip is opened as far as the first record may reach; Snappy, LZ4 and Zstandard are not in Python's own library, and
such a batch tells nothing.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

IDENTITY = frozenset({"x-correlation-id", "traceparent", "tracestate", "baggage", "idempotency-key", "message-id"})
"""The headers that are read, by their names in lower case."""

_HEAD = struct.Struct(">16xB4xH34xi")
"""Of what a batch begins with: its magic, attributes, number of records."""
_MAGIC, _CODEC, _PLAIN, _GZIP = 2, 7, 0, 1
_CONTROL = 0x20
_GZIP_WINDOW = 31
_OPENED_LIMIT = 64 * 1024
_VARINT_BYTES = 10
_NAMES = {name.encode(): name for name in IDENTITY}
_NOTHING: Mapping[str, str] = {}


def identity(data: bytes, at: int, end: int) -> Mapping[str, str]:
    """Read the identity headers of the first record of the batch in ``data[at:end]``; none where they cannot be read.

    The batch may be cut off: a record that ends beyond ``end`` tells nothing.
    """
    if end - at < _HEAD.size:
        return _NOTHING
    magic, attributes, count = _HEAD.unpack_from(data, at)
    if magic != _MAGIC or attributes & _CONTROL or count <= 0:
        return _NOTHING
    codec = attributes & _CODEC
    if codec == _GZIP:
        try:
            data = zlib.decompressobj(_GZIP_WINDOW).decompress(data[at + _HEAD.size : end], _OPENED_LIMIT)
        except zlib.error:
            return _NOTHING
        at, end = 0, len(data)
    elif codec == _PLAIN:
        at += _HEAD.size
    else:
        return _NOTHING
    try:
        return _headers(data, at, end)
    except IndexError:
        return _NOTHING


def _headers(data: bytes, at: int, end: int) -> Mapping[str, str]:
    """Pass over attributes, time, offset, key and value of the record; raise IndexError where it makes no sense."""
    size, at = _varint(data, at, end)
    if not 0 <= size <= end - at:
        return _NOTHING
    end = at + size
    at += 1
    for _ in ("time", "offset"):
        at = at + 1 if at < end and data[at] < 0x80 else _varint(data, at, end)[1]
    for _ in ("key", "value"):
        size, at = _varint(data, at, end)
        at += max(size, 0)
    count, at = _varint(data, at, end)
    found: dict[str, str] = {}
    for _ in range(count):
        size, at = _varint(data, at, end)
        name, at = _bytes(data, at, end, size).lower(), at + size
        size, at = _varint(data, at, end)
        if size >= 0:
            value, at = _bytes(data, at, end, size), at + size
            if name in _NAMES:
                found[_NAMES[name]] = value.decode("utf-8", "replace")
    return found


def _bytes(data: bytes, at: int, end: int, size: int) -> bytes:
    if size < 0 or at + size > end:
        raise IndexError
    return data[at : at + size]


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a zigzag varint of up to 64 bits; give it and where it ends."""
    if at < end and (byte := data[at]) < 0x80:  # nearly all are one byte
        return (byte >> 1) ^ -(byte & 1), at + 1
    value = 0
    for shift in range(0, 7 * _VARINT_BYTES, 7):
        if at >= end:
            raise IndexError
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
    raise IndexError
