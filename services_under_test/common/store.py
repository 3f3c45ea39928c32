"""State in one SQLite file, written before it is acted upon, so that a killed process comes back where it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Store:
    """One connection to one file. Statements take well under a millisecond and run in the event loop's own thread.

    WAL with ``synchronous=OFF``: what is committed outlives the process, not the machine's power.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        self._db.row_factory = _as_dict
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")

    def schema(self, script: str) -> None:
        """Create what is not there yet."""
        self._db.executescript(script)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make a block all or nothing. There must be no ``await`` in it: the connection is shared."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def run(self, statement: str, *values: Any) -> int:
        """Execute a statement; give the number of rows that it changed."""
        return self._db.execute(statement, values).rowcount

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Give all rows of a query."""
        found: list[dict[str, Any]] = self._db.execute(query, values).fetchall()
        return found

    def row(self, query: str, *values: Any) -> dict[str, Any] | None:
        """Give the first row of a query, or None."""
        found: dict[str, Any] | None = self._db.execute(query, values).fetchone()
        return found

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}
