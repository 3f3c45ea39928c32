"""Judging an old run again: the journal's histories, today's checkers, no container and no service."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pytest_chaos.checkers import registry, universal
from pytest_chaos.engine import journal
from pytest_chaos.engine.judge import Judgement, judge
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.codec import from_json
from pytest_chaos.model.journal import CaseRecord
from pytest_chaos.model.verdict import Checker

NAME = "check"
HELP = "judge the histories of an old journal again, with the checkers of this version"

_EXIT_VIOLATED = 1
_EXIT_INCONCLUSIVE = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the run's folder or its journal."""
    parser.add_argument(
        "run", type=Path, nargs="?", default=Path("reports/latest"), help="a run's folder or its journal.jsonl"
    )


def run(args: argparse.Namespace) -> int:
    """Print a line a test; exit 0 when all held, 1 when one was violated, 3 when one is undecided."""
    path = args.run / "journal.jsonl" if args.run.is_dir() else args.run
    worst = 0
    for record in journal.read(path):
        if not isinstance(record, CaseRecord) or record.history is None:
            continue
        judged = rejudge(record)
        print(f"{judged.decision:<12} {record.nodeid}")
        for failure in judged.failures:
            print(f"    {failure.rule} {failure.subject}: {failure.message}")
        for missing in judged.missing:
            print(f"    {missing}")
        if judged.decision == "violated":
            worst = _EXIT_VIOLATED
        elif judged.decision == "inconclusive" and worst == 0:
            worst = _EXIT_INCONCLUSIVE
    return worst


def rejudge(record: CaseRecord) -> Judgement:
    """Judge one test's History with the checkers that it was judged with, as this version has them."""
    if record.history is None:
        msg = f"{record.nodeid}: the journal holds no history of it"
        raise ChaosError(msg)
    named = [_checker(one) for one in record.checkers if one.get("named")]
    declared = [("", _checker(one)) for one in record.checkers if not one.get("named")]
    return judge(record.history, named=named, declared=declared, universal=universal())


def _checker(recorded: dict[str, Any] | dict[str, object]) -> Checker:
    kind = registry.get(str(recorded["checker"]))
    return from_json(kind, recorded.get("params", {}))
