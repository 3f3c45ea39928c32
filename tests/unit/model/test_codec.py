"""Model values survive the way to JSON and back."""

from __future__ import annotations

import json

import pytest

from pytest_chaos.errors import ChaosError
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.codec import from_json, to_json
from pytest_chaos.model.fault import Installed, Schedule, When, WireRule
from pytest_chaos.model.history import History
from pytest_chaos.model.journal import CaseRecord
from pytest_chaos.model.plan import NodeSpec, ReadySpec, StackSpec, StubOperation
from pytest_chaos.model.verdict import RuleResult, Verdict


def _attempt(number: int) -> Attempt:
    return Attempt(
        id=f"a{number}",
        link="a -> b",
        connection="c1",
        reused=False,
        protocol="grpc",
        connected_ns=1,
        started_ns=number,
        faults=("f1",),
    )


def test_a_record_with_everything_nested_comes_back_equal() -> None:
    history = History(test="t", started_ns=1, ended_ns=2, attempts=(_attempt(1), _attempt(2)))
    verdict = Verdict(
        checker="Retry", results=(RuleResult(rule="R1", outcome="FAIL", message="m", witness=("a1", "a2")),)
    )
    record = CaseRecord(nodeid="n", outcome="failed", history=history, verdicts=(verdict,), logs={"orders": "line"})
    assert from_json(CaseRecord, json.loads(json.dumps(to_json(record)))) == record


def test_a_schedule_and_a_stack_come_back_equal() -> None:
    rule = WireRule(id="r", fault="f1", link="a -> b", kind="status", when=When(nth=(1, 3)), params={"code": 503})
    schedule = Schedule(id="s", owner="t", faults=(Installed(id="f1", kind="Status", target="a -> b", rules=(rule,)),))
    assert from_json(Schedule, json.loads(json.dumps(to_json(schedule)))) == schedule
    node = NodeSpec(
        name="bank",
        kind="stub",
        operations={"POST /c": StubOperation(body={"ok": [1]})},
        ready=ReadySpec(kind="http", path="/h"),
    )
    spec = StackSpec(nodes=(node,), links=())
    assert from_json(StackSpec, json.loads(json.dumps(to_json(spec)))) == spec


def test_an_old_journal_with_a_field_that_is_gone_is_read() -> None:
    plain = {**to_json(_attempt(1)), "a_field_of_yesterday": 1}
    assert from_json(Attempt, plain) == _attempt(1)


@pytest.mark.parametrize(
    "broken", [None, [], "text", {"id": "a1"}, {"nodeid": "n", "outcome": "passed", "verdicts": 3}]
)
def test_what_cannot_be_read_names_the_class(broken: object) -> None:
    kind = CaseRecord if isinstance(broken, dict) and "nodeid" in broken else Attempt
    with pytest.raises(ChaosError):
        from_json(kind, broken)
