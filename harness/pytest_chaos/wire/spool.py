"""The spool: JSON lines appended to one file, buffered; whoever asked for a mark reads up to its offset."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Spool:
    """Appends records to a file; not safe for threads. Raises OSError when the file cannot be written."""

    FLUSH_S = 0.05
    _FULL = 256 * 1024

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._offset = os.fstat(self._file).st_size
        self._lines: list[str] = []
        self._size = 0

    def add(self, kind: str, record: dict[str, Any]) -> None:
        """Append one record: ``a`` attempt, ``e`` effect, ``h`` hit; it is in the file after the next flush."""
        line = json.dumps({"k": kind, **record}, separators=(",", ":"))
        self._lines.append(line)
        self._size += len(line)
        if self._size > self._FULL:
            self.flush()

    def flush(self) -> int:
        """Write what is buffered and give the offset behind it, in bytes."""
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
