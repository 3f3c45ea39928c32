"""On a shared test's History only that stands which does not depend on what may be another test's."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pytest_chaos import Bulkhead, CircuitBreaker, Idempotency, Retry
from pytest_chaos.engine.judge import judge, run
from pytest_chaos.engine.tempering import tempered
from pytest_chaos.model.history import Bypass, Evidence, History
from pytest_chaos.testing.history import HistoryBuilder

RETRY = Retry("orders -> payments", max_attempts=2, rules=("R1",))


def history(*statuses: int, loose: tuple[dict[str, Any], ...] = ()) -> History:
    """A call whose requests on a link had these statuses, and requests that name nobody."""
    built = HistoryBuilder()
    op = built.op(took=1000)
    own = [built.attempt(at=10 + 20 * n, status=status, op=op, key="k") for n, status in enumerate(statuses)]
    others = [built.attempt(**{"at": 200, "key": "k", **more}) for more in loose]
    whole = built.build()
    return dataclasses.replace(
        whole, attempts=tuple(own), isolation="shared", unattributed=Evidence(attempts=tuple(others))
    )


def outcomes(checker: Any, one: History) -> dict[str, str]:
    return {result.rule: result.outcome for result in tempered(run, checker, one).results}


def test_what_nothing_unattributed_touches_stands() -> None:
    assert outcomes(RETRY, history(503, 200))["R1"] == "PASS"
    assert outcomes(RETRY, history(503, 503, 503))["R1"] == "FAIL"
    elsewhere = ({"link": "orders -> inventory"},)
    assert outcomes(RETRY, history(503, 200, loose=elsewhere))["R1"] == "PASS"
    assert outcomes(RETRY, history(503, 503, 503, loose=elsewhere))["R1"] == "FAIL"


def test_what_would_be_decided_otherwise_with_it_is_undecided_and_says_why() -> None:
    one = history(503, 503, loose=({},))
    assert outcomes(RETRY, dataclasses.replace(one, unattributed=Evidence()))["R1"] == "PASS"
    (result,) = [result for result in tempered(run, RETRY, one).results if result.rule == "R1"]
    assert result.outcome == "INCONCLUSIVE"
    assert "1 requests (such as a3 POST /payments on orders -> payments)" in result.missing
    assert "isolation" not in result.missing
    judged = judge(one, named=[RETRY])
    assert judged.decision == "inconclusive"


def test_a_failure_that_holds_in_both_worlds_stands() -> None:
    assert outcomes(RETRY, history(503, 503, 503, loose=({},)))["R1"] == "FAIL"


def test_where_too_much_was_left_out_to_be_looked_at_nothing_is_decided() -> None:
    one = dataclasses.replace(history(503, 200), unattributed=Evidence(more=3))
    assert set(outcomes(RETRY, one).values()) == {"INCONCLUSIVE"}


@pytest.mark.parametrize("checker", [CircuitBreaker("orders -> payments", failures=1), Bulkhead("orders -> payments")])
def test_state_of_all_tests_is_never_judged_by_one(checker: Any) -> None:
    built = HistoryBuilder()
    for at in (10, 20, 500, 600):
        built.attempt(at=at, took=50, status=503, op=built.op(at=at))
    one = dataclasses.replace(built.build(), isolation="shared")
    assert set(outcomes(checker, one).values()) == {"INCONCLUSIVE"}
    alone = dataclasses.replace(one, isolation="exclusive")
    assert set(outcomes(checker, alone).values()) - {"INCONCLUSIVE"}


def test_effects_of_nobody_leave_a_ledger_undecided_only_if_they_matter() -> None:
    built = HistoryBuilder()
    op = built.op()
    tries = [built.attempt("payments -> acquirer", "POST /charges", at=at, op=op, key="k") for at in (10, 30)]
    built.stub_effect(at=12, attempt=tries[0], key="order-1")
    whole = dataclasses.replace(built.build(), isolation="shared")
    other = built.stub_effect(at=14, key="order-2")
    again = built.stub_effect(at=14, key="order-1")
    checker = Idempotency("acquirer", rules=("I1",))
    assert outcomes(checker, whole)["I1"] == "PASS"
    for more, outcome in ((other, "PASS"), (again, "INCONCLUSIVE")):
        doubtful = dataclasses.replace(whole, unattributed=Evidence(effects=(more,)))
        assert outcomes(checker, doubtful)["I1"] == outcome


def test_of_a_link_that_was_gone_around_nothing_stands_and_a_fault_there_proves_nothing() -> None:
    built = HistoryBuilder()
    op = built.op()
    for at in (10, 30):
        built.attempt(at=at, status=503 if at == 10 else 200, op=op, key="k")
    for link in ("orders -> payments", "orders -> inventory.grpc"):
        built.fault("Status", link)
    went = Bypass(caller="orders", callee="payments", address="127.0.0.1:9", pid=7, program="python", connections=2)
    outside = Bypass(caller="", callee="inventory", address="127.0.0.1:8", pid=8, connections=1)
    one = dataclasses.replace(built.build(), around=(went, outside))
    (result,) = [result for result in tempered(run, RETRY, one).results if result.rule == "R1"]
    assert (result.outcome, result.missing) == ("INCONCLUSIVE", str(went))
    assert outcomes(RETRY, dataclasses.replace(one, around=(outside,)))["R1"] == "PASS"
    says = "orders reached payments at 127.0.0.1:9 directly (2 connections, pid 7 python), not through its link"
    missing = judge(one, named=[Idempotency("acquirer")]).missing
    assert [what for what in missing if "did not act" in what] == [
        f"the fault f1 Status on orders -> payments did not act on all that passed there: {says}"
    ]
    assert str(outside).startswith("a process outside of the stack reached inventory at 127.0.0.1:8 directly (1 conn")
