"""What one test leaves in the journal."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_chaos import errors
from pytest_chaos.engine.judge import bind
from pytest_chaos.errors import ChaosError, Inconclusive
from pytest_chaos.model.codec import to_json
from pytest_chaos.model.journal import CaseOutcome, CaseRecord, Decision

if TYPE_CHECKING:
    import pytest

    from pytest_chaos.engine.chaos import Chaos
    from pytest_chaos.engine.session import Session
    from pytest_chaos.model.verdict import Checker


def case_record(session: Session, item: pytest.Item, chaos: Chaos, report: pytest.TestReport | None) -> CaseRecord:
    """Put a test's outcome, its judgements and its History together.

    Later judgements of a test include earlier ones' evidence.
    """
    last = chaos.judgements[-1] if chaos.judgements else None
    verdicts = tuple(verdict for judgement in chaos.judgements for verdict in judgement.verdicts)
    history = last.history if last is not None else None
    decisions: tuple[Decision, ...] = ()
    left_out = 0
    with contextlib.suppress(ChaosError):  # a stack that has broken down tells no more
        history = history or chaos.history()
        decisions, left_out = chaos.decisions()
    named = [checker for judgement in chaos.judgements for checker in judgement.named]
    declared = [bind(policy, link) for link, policy in session.topology.policies()]
    checkers = (
        *(_recorded(checker, named=True) for checker in named),
        *(_recorded(policy, named=False) for policy in declared),
    )
    return CaseRecord(
        nodeid=item.nodeid,
        outcome=_outcome(report),
        message=str(report.longrepr) if report is not None and report.failed else "",
        duration_s=round(report.duration, 3) if report is not None else 0.0,
        required=last.required if last is not None else (),
        verdicts=verdicts,
        not_exercised=last.not_exercised if last is not None else (),
        history=history,
        logs=session.keeper.logs(),
        checkers=checkers,
        schedules=chaos.schedules,
        decisions=decisions,
        decisions_left_out=left_out,
        replay=f"pytest --chaos --chaos-seed={session.settings.seed} '{item.nodeid}'",
    )


def _recorded(checker: Checker, *, named: bool) -> dict[str, object]:
    """Give what a later program needs to judge this History again with the same checker."""
    return {"checker": type(checker).__name__, "named": named, "params": to_json(checker)}


def _outcome(report: pytest.TestReport | None) -> CaseOutcome:
    if report is None:
        return "error"
    if report.skipped:
        return "skipped"
    if report.passed:
        return "passed" if report.when == "call" else "error"
    text = str(report.longrepr)
    kind = getattr(errors, text.partition(":")[0], None)
    if kind is Inconclusive:
        return "inconclusive"
    harness = isinstance(kind, type) and issubclass(kind, ChaosError)
    return "error" if harness or report.when != "call" else "failed"
