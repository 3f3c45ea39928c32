"""The spool of received OTLP requests: raw bytes behind an arrival time, appended whole, read by byte offset."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEAD = struct.Struct(">QI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One export request as it came; ``at_ns`` is its arrival on CLOCK_MONOTONIC."""

    at_ns: int
    body: bytes


class SpoolWriter:
    """Appends requests; safe to call from several threads."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size
        self._lock = threading.Lock()
        self._closed = False

    def put(self, body: bytes) -> None:
        """Append one request with the present time; after ``close`` it is dropped."""
        with self._lock:
            if self._closed:
                return
            record = memoryview(_HEAD.pack(time.monotonic_ns(), len(body)) + body)
            while record:
                written = os.write(self._file, record)
                self._size += written
                record = record[written:]

    def offset(self) -> int:
        """Give the number of bytes behind everything appended so far."""
        with self._lock:
            return self._size

    def close(self) -> None:
        """Close the file; safe to call twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._file)


def read_batches(path: Path, start: int, end: int) -> Iterator[Batch]:
    """Give the requests between two offsets that a writer gave; a record that is cut off at ``end`` is left out."""
    if end <= start:
        return
    with path.open("rb") as spool:
        spool.seek(start)
        left = end - start
        while left >= _HEAD.size and len(head := spool.read(_HEAD.size)) == _HEAD.size:
            at_ns, size = _HEAD.unpack(head)
            left -= _HEAD.size + size
            body = spool.read(size)
            if left < 0 or len(body) < size:
                return
            yield Batch(at_ns=at_ns, body=body)
