"""Writing and reading journal.jsonl: one record a line, appended whole, so that several workers share one file."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

from pytest_chaos.errors import ChaosError
from pytest_chaos.model.codec import from_json, to_json
from pytest_chaos.model.journal import CaseRecord, EndRecord, RunRecord, UndoRecord

Record = RunRecord | CaseRecord | UndoRecord | EndRecord
_TYPES: dict[str, type[RunRecord | CaseRecord | UndoRecord | EndRecord]] = {
    "run": RunRecord,
    "test": CaseRecord,
    "undo": UndoRecord,
    "end": EndRecord,
}


def append(path: Path, record: Record) -> None:
    """Append one record, whole, also when several processes do so."""
    plain = {"type": record.type, **to_json(record)}
    line = json.dumps(plain, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    with path.open("ab") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        journal.write(line)


def read(path: Path) -> Iterator[Record]:
    """Read the records in order; raise ChaosError naming file and line that cannot be read."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as wrong:
        msg = f"{path}: the journal cannot be read: {wrong.strerror}"
        raise ChaosError(msg) from wrong
    for number, line in enumerate(lines, start=1):
        try:
            plain = json.loads(line)
            kind = _TYPES[plain["type"]]
        except (ValueError, KeyError, TypeError) as wrong:
            msg = f"{path}:{number}: not a journal record: {line[:80]!r}"
            raise ChaosError(msg) from wrong
        yield from_json(kind, plain)
