"""What every checker obeys: total, deterministic, with evidence that exists, vacuity never a pass."""

from __future__ import annotations

import dataclasses
from typing import Any

from pytest_chaos.model.history import History
from pytest_chaos.model.verdict import Checker, Verdict


def assert_laws(checker: Checker, history: History) -> Verdict:
    """Check one checker against one history and give its verdict; raise AssertionError naming the law that it broke.

    The laws: the same history gives the same verdict; an empty history is never a PASS; a FAIL names witnesses that
    are in the history, in time order, blames a layer and has a severity; an INCONCLUSIVE names what is missing;
    renaming every id changes no outcome.
    """
    verdict = checker.check(history)
    assert checker.check(history) == verdict, "the same history gave two verdicts"
    empty = checker.check(History(test="empty", started_ns=history.started_ns, ended_ns=history.ended_ns))
    assert empty.outcome == "INCONCLUSIVE", f"an empty history gave {empty.outcome}"
    times = _times(history)
    for result in verdict.results:
        where = f"{verdict.checker} {result.rule}"
        assert result.message, f"{where}: no message"
        if result.outcome == "FAIL":
            assert result.witness, f"{where}: a FAIL without witness"
            assert result.blame, f"{where}: a FAIL without blame"
            assert result.severity, f"{where}: a FAIL without severity"
            unknown = [one for one in result.witness if one not in times]
            assert not unknown, f"{where}: witnesses that the history does not hold: {unknown}"
            assert [times[one] for one in result.witness] == sorted(times[one] for one in result.witness), (
                f"{where}: not in time order"
            )
        if result.outcome == "INCONCLUSIVE":
            assert result.missing, f"{where}: undecided, and nothing is named as missing"
    other = checker.check(relabelled(history))
    assert [(one.rule, one.outcome) for one in other.results] == [(one.rule, one.outcome) for one in verdict.results], (
        "new ids, new verdict"
    )
    return verdict


def relabelled(history: History) -> History:
    """Give the same history with every event's id renamed."""
    return dataclasses.replace(
        history,
        ops=tuple(_renamed(one) for one in history.ops),
        attempts=tuple(
            dataclasses.replace(_renamed(one), faults=tuple(f"x-{fault}" for fault in one.faults))
            for one in history.attempts
        ),
        messages=tuple(_renamed(one) for one in history.messages),
        effects=tuple(
            dataclasses.replace(_renamed(one), attempt=f"x-{one.attempt}" if one.attempt else "")
            for one in history.effects
        ),
        faults=tuple(_renamed(one) for one in history.faults),
        node_events=tuple(_renamed(one) for one in history.node_events),
    )


def _renamed(event: Any) -> Any:
    return dataclasses.replace(event, id=f"x-{event.id}")


def _times(history: History) -> dict[str, int]:
    times = {one.id: one.started_ns for one in history.attempts}
    times |= {one.id: one.invoked_ns for one in history.ops}
    times |= {one.id: one.at_ns for one in history.messages}
    times |= {one.id: one.at_ns for one in history.effects}
    times |= {one.id: one.at_ns for one in history.node_events}
    times |= {one.id: one.first_hit_ns or one.installed_ns for one in history.faults}
    return times | {one.span_id: one.received_ns for one in history.spans}
