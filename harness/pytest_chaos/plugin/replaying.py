"""What a replay takes from an old journal: the run's seed, the tests that failed, the schedules that they installed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_chaos.engine import journal
from pytest_chaos.model.fault import Schedule
from pytest_chaos.model.journal import CaseRecord, RunRecord


def seed_of(path: Path) -> int:
    """Give the seed of a journal's run; raise UsageError when the file is no journal."""
    record = next(iter(journal.read(path)), None)
    if not isinstance(record, RunRecord):
        msg = f"{path}: does not begin with a run record; give a run's journal.jsonl"
        raise pytest.UsageError(msg)
    return record.seed


def failed_in(path: Path) -> set[str]:
    """List the tests that did not pass in a journal."""
    return {
        record.nodeid
        for record in journal.read(path)
        if isinstance(record, CaseRecord) and record.outcome not in ("passed", "skipped")
    }


@functools.cache
def schedules_of(path: Path) -> Mapping[str, tuple[Schedule, ...]]:
    """Map each test of a journal to the schedules that it installed, in order; of a repeated test the last time's."""
    records = (record for record in journal.read(path) if isinstance(record, CaseRecord))
    return {record.nodeid: record.schedules for record in records if record.schedules}
