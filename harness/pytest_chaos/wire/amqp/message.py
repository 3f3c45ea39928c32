"""A message that is here as a whole behind its method: header and one body frame, as nearly all come. Pure."""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import NamedTuple

from pytest_chaos.wire.amqp.values import properties

HEADER, BODY, END = 2, 3, 0xCE
HEAD = struct.Struct(">BHI")
OVERHEAD = 8
_SIZE = struct.Struct(">4xQ")


class Message(NamedTuple):
    """What it says, and where its last frame ends."""

    headers: dict[str, str]
    body_hash: str
    end: int


def whole(buffer: bytes | bytearray, at: int, channel: int, limit: int) -> Message | None:
    """Read the message that begins at ``at``; None: it is not all here, in more frames, among others', or wrong.

    Nothing depends on this but speed.
    """
    here = len(buffer)
    if here - at < HEAD.size:
        return None
    kind, of, length = HEAD.unpack_from(buffer, at)
    begin, end = at + HEAD.size, at + length + OVERHEAD
    if kind != HEADER or of != channel or not _SIZE.size <= length <= limit or end > here or buffer[end - 1] != END:
        return None
    (size,) = _SIZE.unpack_from(buffer, begin)
    properties_, body = bytes(buffer[begin + _SIZE.size : end - 1]), b""
    if size:
        if here - end < HEAD.size:
            return None
        kind, of, length = HEAD.unpack_from(buffer, end)
        begin, end = end + HEAD.size, end + length + OVERHEAD
        if kind != BODY or of != channel or length != size or length > limit or end > here or buffer[end - 1] != END:
            return None
        body = bytes(buffer[begin : end - 1])
    return Message(properties(properties_, 0), blake2b(body, digest_size=8).hexdigest(), end)
