"""A journal as the views read it: masked, tolerant of a run that was killed while it wrote, and saying so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pytest_chaos.errors import ChaosError
from pytest_chaos.model.codec import from_json
from pytest_chaos.model.history import FaultRecord
from pytest_chaos.model.journal import CaseRecord, EndRecord, RunRecord, UndoRecord
from pytest_chaos.reporting.masking import mask

_UNDO_GRACE_NS = 60 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One journal. ``notes`` says what is wrong with the journal itself, one sentence each."""

    record: RunRecord
    cases: tuple[CaseRecord, ...] = ()
    undos: tuple[UndoRecord, ...] = ()
    end: EndRecord | None = None
    notes: tuple[str, ...] = ()

    @property
    def dirty(self) -> bool:
        """Whether anything was not undone."""
        return bool(self.end and self.end.dirty) or any(not undo.ok for undo in self.undos)

    @property
    def counts(self) -> dict[str, int]:
        """How many tests ended how, counted from the records themselves."""
        found: dict[str, int] = {}
        for case in self.cases:
            found[case.outcome] = found.get(case.outcome, 0) + 1
        return found

    @property
    def duration_s(self) -> float | None:
        """Seconds from the run's first to its last record; None when one of the two is missing or no ISO 8601 time."""
        try:
            return (
                (datetime.fromisoformat(self.end.ended) - datetime.fromisoformat(self.record.started)).total_seconds()
                if self.end
                else None
            )
        except (ValueError, TypeError):
            return None

    def undos_of(self, case: CaseRecord, fault: FaultRecord) -> tuple[UndoRecord, ...]:
        """The undos of one fault of one test; one that names no test is told by its time, since fault ids repeat."""
        last = (fault.lifted_ns or (case.history.ended_ns if case.history else fault.installed_ns)) + _UNDO_GRACE_NS
        return tuple(
            undo
            for undo in self.undos
            if undo.fault == fault.id
            and (undo.test == case.nodeid or (not undo.test and fault.installed_ns <= undo.at_ns <= last))
        )


def read_run(journal: Path) -> Run:
    """Read a journal; raise ChaosError when the file cannot be read or holds no run record.

    A line that is no record (the last one of a killed run, say) becomes a note; records of kinds that this version
    does not know are passed over.
    """
    records: dict[str, list[Any]] = {"run": [], "test": [], "undo": [], "end": []}
    shapes: dict[str, type] = {"run": RunRecord, "test": CaseRecord, "undo": UndoRecord, "end": EndRecord}
    notes: list[str] = []
    for number, plain in _lines(journal, notes):
        kind = str(plain.get("type"))
        if kind not in shapes:
            continue
        try:
            records[kind].append(from_json(shapes[kind], mask(plain)))
        except (ChaosError, TypeError, AttributeError) as wrong:
            notes.append(f"line {number} of the journal is no {kind} record and was left out: {wrong}")
    if not records["run"]:
        msg = f"{journal}: no run record in it; give the folder of a run (reports/latest, say), or its journal"
        raise ChaosError(msg)
    if not records["end"]:
        notes.append("the journal has no end record: the run was killed, or still goes on")
    return Run(
        record=records["run"][0],
        cases=tuple(records["test"]),
        undos=tuple(records["undo"]),
        end=records["end"][-1] if records["end"] else None,
        notes=tuple(notes),
    )


def _lines(journal: Path, notes: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        content = journal.read_bytes()
    except OSError as wrong:
        msg = f"{journal}: the journal cannot be read: {wrong.strerror}"
        raise ChaosError(msg) from wrong
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            plain = json.loads(line)
        except ValueError:
            notes.append(f"line {number} of the journal is cut off or is no JSON, and was left out")
            continue
        if isinstance(plain, dict):
            yield number, plain
        else:
            notes.append(f"line {number} of the journal is no object, and was left out")
