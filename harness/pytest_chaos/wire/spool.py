"""The spool: JSON lines appended to one file, buffered; whoever asked for a mark reads up to its offset."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pytest_chaos.wire.record import Record

Row = Record | dict[str, Any]
"""An attempt that has ended, or an effect or a hit with its ``k``."""

_LOOK_BYTES = 65_536

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Spool:
    """Appends rows to a file; not safe for threads. Raises OSError when the file cannot be written."""

    FLUSH_S = 0.05
    _FULL = 256 * 1024

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._offset = _whole_lines(path)
        os.ftruncate(self._file, self._offset)
        self._rows: list[Row] = []
        self._lines: list[str] = []
        self._size = 0

    def add(self, row: Row) -> bool:
        """Append one row, which must not change any more; True when it is the first since the last encoding."""
        self._rows.append(row)
        return len(self._rows) == 1

    def encode(self) -> None:
        """Turn the rows so far into lines: little and often, so that no request waits for many of them."""
        rows, self._rows = self._rows, []
        for row in rows:
            line = row.line() if isinstance(row, Record) else _encode(row)
            self._lines.append(line)
            self._size += len(line)
        if self._size > self._FULL:
            self.flush()

    def flush(self) -> int:
        """Write what is buffered and give the offset behind it, in bytes."""
        if self._rows:
            self.encode()
        if self._lines:
            data = memoryview(("\n".join(self._lines) + "\n").encode("ascii"))
            self._lines.clear()
            self._size = 0
            while data:
                written = os.write(self._file, data)
                self._offset += written
                data = data[written:]
        return self._offset

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        os.close(self._file)


def _whole_lines(path: Path) -> int:
    """Give the length of a spool up to its last whole line: a wire that was killed may have torn one."""
    with path.open("rb") as spool:
        end = spool.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _LOOK_BYTES)
            spool.seek(start)
            found = spool.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0
