"""Verdicts on evidence that is not whole: of a link that was gone around, or that may be another test's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from pytest_chaos.model.history import History
from pytest_chaos.model.verdict import Checker, RuleResult, Verdict

_MOST_OPS = 64
Run = Callable[[Checker, History], Verdict]


def tempered(run: Run, checker: Checker, history: History) -> Verdict:
    """Run a checker on a History; where it is a shared test's, let only that stand which does not depend on others.

    Of a link that was gone around, nothing stands.

    A checker of state that all tests share (``shared_state``: a breaker, a bulkhead) decides nothing there. Evidence
    that may be the test's own leaves several worlds: without it, and for each call of the test one in which that
    caused it. A rule that is decided alike in all of them stands.
    """
    verdict = run(checker, history)
    around = "; ".join(str(one) for one in history.around if one.concerns(getattr(checker, "link", None) or ""))
    if around:
        return _doubted(verdict, lambda _: around)
    if history.isolation != "shared":
        return verdict
    if getattr(checker, "shared_state", False):
        return _doubted(verdict, lambda _: "other tests move its state too: give the test the stack alone")
    doubt = history.unattributed
    if not doubt:
        return verdict
    why = (
        f"the decision depends on what names no test, and may be this one's or another's: {doubt}; have services pass "
        "traceparent, baggage or x-correlation-id on, or give the test the stack alone"
    )
    if doubt.more or len(history.ops) > _MOST_OPS:
        return _doubted(verdict, lambda _: why)
    others = [run(checker, history.if_caused_by(op)) for op in history.ops]
    return _doubted(
        verdict,
        lambda rule: why if any(_outcome(other, rule) != _outcome(verdict, rule) for other in others) else "",
    )


def _outcome(verdict: Verdict, rule: str) -> str:
    found = verdict.of(rule)
    return found.outcome if found is not None else ""


def _doubted(verdict: Verdict, why: Callable[[str], str]) -> Verdict:
    results = (_undecided(one, why(one.rule)) for one in verdict.results)
    return dataclasses.replace(verdict, results=tuple(results))


def _undecided(result: RuleResult, why: str) -> RuleResult:
    if not why or result.outcome == "INCONCLUSIVE":
        return result
    message = f"{result.rule} is undecided: alone, it would be {result.outcome} ({result.message})"
    return RuleResult(rule=result.rule, outcome="INCONCLUSIVE", message=message, subject=result.subject, missing=why)
