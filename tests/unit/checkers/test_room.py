"""What the room of checkers promises as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_chaos.checkers import Findings, event_times, registry, total, universal
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.history import History
from pytest_chaos.model.verdict import Verdict
from pytest_chaos.testing import HistoryBuilder


def test_every_checker_is_found_by_its_class_name() -> None:
    patterns = (
        "Bulkhead CircuitBreaker Correlation Deadline Delivery FireAndForget Honesty Idempotency Retry Saga Timeout"
    )
    assert set(patterns.split()) <= set(registry.names())
    assert all(name == kind.__name__ for name, kind in registry)


def test_universal_checkers_decide_nothing_about_an_empty_history() -> None:
    assert [checker.check(HistoryBuilder().build()).outcome for checker in universal()] == [
        "INCONCLUSIVE",
        "INCONCLUSIVE",
    ]


class Crashing:
    @total
    def check(self, history: History, /) -> Verdict:
        raise ZeroDivisionError("oops")


def test_a_crash_is_inconclusive_with_the_traceback() -> None:
    (result,) = Crashing().check(HistoryBuilder().build()).results
    assert (result.outcome, result.blame) == ("INCONCLUSIVE", "harness")
    assert "ZeroDivisionError: oops" in result.missing


def test_a_mistake_in_the_declaration_is_not_swallowed() -> None:
    class Wrong:
        @total
        def check(self, history: History, /) -> Verdict:
            raise ChaosError("no such thing")

    with pytest.raises(ChaosError, match="no such thing"):
        Wrong().check(HistoryBuilder().build())


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], "INCONCLUSIVE"),
        (["hold"], "PASS"),
        (["missing", "hold"], "PASS"),
        (["hold", "doubt"], "INCONCLUSIVE"),
        (["doubt", "fail"], "FAIL"),
        (["hold", "fail"], "FAIL"),
    ],
)
def test_a_failure_outweighs_a_doubt_outweighs_a_pass(steps: list[str], expected: str) -> None:
    found = Findings(HistoryBuilder().build(), object(), "here", ("R1",))
    calls: dict[str, Any] = {
        "hold": lambda: found.hold("R1", "held"),
        "missing": lambda: found.missing(("R1",), "nothing"),
        "doubt": lambda: found.doubt(("R1",), "unsure"),
        "fail": lambda: found.fail("R1", "broken", ("a1",)),
    }
    for step in steps:
        calls[step]()
    assert found.verdict().outcome == expected


def test_witnesses_stand_in_time_order_each_once() -> None:
    builder = HistoryBuilder()
    late, early = builder.attempt(at=200), builder.attempt(at=100)
    history = builder.build()
    found = Findings(history, object(), "here", ("R1",))
    assert found.in_time_order((late.id, early.id, late.id, "")) == (early.id, late.id)
    assert event_times(history)[early.id] == early.started_ns
