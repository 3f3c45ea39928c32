"""Cuts a stream into frames by the size that each begins with; large ones pass in parts. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from pytest_chaos.wire.framed.reader import BadFrame, Frame

COLLECTED = 2**20
"""Frames of up to so many bytes are collected and given whole; larger ones in parts, as they come."""
HEAD = 64 * 1024
"""So many bytes of a larger frame are collected to read what it is."""
LARGEST = 2**28
"""No frame is larger, by default Kafka takes 100 MiB; what seems to be is TLS, HTTP or noise."""

_PREFIX = 4


class Cut(NamedTuple):
    """What the beginning of a frame, or all of it, is; ``hash_from``: where its hash begins, 0: it has none."""

    frame: Frame
    hash_from: int = 0


class Cutter:
    """Cuts one side's bytes into frames by their size; ``read`` tells what the beginning of one, or all of it, is."""

    __slots__ = ("_buffer", "_hash", "_needed", "_passing", "_read", "_smallest")

    def __init__(self, smallest: int, read: Callable[..., Cut]) -> None:
        self._smallest, self._read = smallest, read
        self._buffer = bytearray()
        self._needed = _PREFIX
        """So many bytes must be here before there is something to read."""
        self._passing = 0
        """So many bytes are still to come of a frame that is passed on in parts."""
        self._hash: hashlib.blake2b | None = None

    def cut(self, data: bytes) -> list[Frame]:
        """Take bytes; give the frames that are complete. Raises BadFrame; :meth:`unread` has the rest."""
        if not (self._buffer or self._passing) and self._smallest + _PREFIX <= len(data) <= COLLECTED:
            size = int.from_bytes(data[:_PREFIX], "big")
            if size + _PREFIX == len(data):  # one whole frame, as nearly every reading brings
                try:
                    return [self._read(data, whole=True).frame]
                except BadFrame:
                    self._buffer[:] = data
                    raise
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        passing = self._passing
        try:
            return self._frames(data)
        except BadFrame:
            self._buffer[:] = data
            self._passing, self._needed = passing, _PREFIX
            raise

    def unread(self) -> bytes:
        """Give (and forget) what is in no frame yet."""
        data = bytes(self._buffer)
        self._buffer.clear()
        self._needed = _PREFIX
        return data

    def _frames(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        at, end = 0, len(data)
        if self._passing and end:
            at = min(self._passing, end)
            frames.append(self._part(data[:at]))
        while end - at >= _PREFIX:
            size = int.from_bytes(data[at : at + _PREFIX], "big", signed=True)
            if not self._smallest <= size <= LARGEST:
                raise BadFrame(_what(data[at : at + _PREFIX]))
            whole = _PREFIX + size
            if end - at >= whole:
                raw = data if at == 0 and end == whole else data[at : at + whole]
                frames.append(self._read(raw, whole=True).frame)
                at += whole
                continue
            self._needed = whole if whole <= COLLECTED else HEAD
            if end - at >= self._needed:
                head, self._passing = data[at:], whole - (end - at)
                read = self._read(head, whole=False)
                self._hash = hash_of(head, read.hash_from) if read.hash_from else None
                frames.append(read.frame)
                at = end
            break
        else:
            self._needed = _PREFIX
        if at < end:
            self._buffer += data[at:]
        return frames

    def _part(self, data: bytes) -> Frame:
        """Give the next part of a large frame; the last one has the hash of all of it."""
        self._passing -= len(data)
        if self._hash is not None:
            self._hash.update(data)
        more = self._passing > 0
        return Frame(raw=data, more=more, body_hash="" if more or self._hash is None else self._hash.hexdigest())


def hash_of(raw: bytes, at: int) -> hashlib.blake2b:
    """Begin the hash of a frame's body, which stands at ``at``."""
    return hashlib.blake2b(memoryview(raw)[at:], digest_size=8)


def _what(prefix: bytes) -> str:
    if prefix[:2] == b"\x16\x03":
        return "TLS"
    return "no Kafka request or answer"
