"""Idempotency: one effect an intent, one key an intent, and nothing decided where nothing was repeated."""

from __future__ import annotations

import pytest

from pytest_chaos.checkers.idempotency import Idempotency
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.verdict import RuleResult
from pytest_chaos.testing import HistoryBuilder, assert_laws

ONCE = Idempotency("acquirer")


def result(builder: HistoryBuilder, rule: str, checker: Idempotency = ONCE) -> RuleResult:
    found = assert_laws(checker, builder.build()).of(rule)
    assert found is not None
    return found


def charged(
    *, effects: int = 1, keys: tuple[str, ...] = ("k", "k"), markers: tuple[str, ...] = ("ord-1",)
) -> HistoryBuilder:
    """Build a charge whose answer was lost: sent twice, with so many effects at the acquirer."""
    builder = HistoryBuilder()
    op = builder.op(took=500, status=201)
    builder.fault("AnswerLost", "orders -> payments")
    for number, key in enumerate(keys):
        lost = number < len(keys) - 1
        builder.attempt(
            op=op,
            at=10 + 100 * number,
            key=key,
            marker="ord-1",
            error="reset" if lost else "",
            upstream=201,
            faults=("f1",) if lost else (),
        )
    for number in range(effects):
        sent = builder.attempt("payments -> acquirer", "POST /charges", op=op, at=12 + 100 * number)
        builder.stub_effect(attempt=sent, at=14 + 100 * number, key=f"k{number}", marker=markers[number % len(markers)])
    return builder


def test_i1_one_effect_of_two_requests_holds() -> None:
    assert result(charged(), "I1").outcome == "PASS"


def test_i1_two_effects_are_found_with_the_fault_and_the_requests_as_witness() -> None:
    found = result(charged(effects=2), "I1")
    assert found.outcome == "FAIL"
    assert "2 effects" in found.message
    assert {"f1", "o1", "a1", "a2", "e1", "e2"} <= set(found.witness)
    assert found.severity == "money and data"


def test_i1_two_orders_of_one_call_are_found_though_their_markers_and_keys_differ() -> None:
    assert result(charged(effects=2, markers=("ord-1", "ord-2")), "I1").outcome == "FAIL"


def test_i1_per_call_can_be_switched_off_where_one_call_has_several_effects() -> None:
    checker = Idempotency("acquirer", per_call=False)
    assert result(charged(effects=2, markers=("row-1", "row-2")), "I1", checker).outcome == "PASS"


def test_i1_nothing_repeated_decides_nothing() -> None:
    found = result(charged(keys=("k",)), "I1")
    assert found.outcome == "INCONCLUSIVE"
    assert "nothing was repeated" in found.missing


def test_i1_a_request_that_was_turned_away_before_its_callee_is_no_repetition() -> None:
    builder = HistoryBuilder()
    op = builder.op(took=500, status=201)
    builder.fault("FailFirst", "orders -> payments")
    builder.attempt(op=op, at=10, status=503, forwarded=False, faults=("f1",))
    builder.attempt(op=op, at=110, upstream=201)
    sent = builder.attempt("payments -> acquirer", "POST /charges", op=op, at=112)
    builder.stub_effect(attempt=sent, at=114, key="k", marker="ord-1")
    assert "nothing was repeated" in result(builder, "I1").missing


def test_i1_a_repetition_that_does_not_lead_to_the_ledger_decides_nothing() -> None:
    builder = charged(keys=("k",))
    builder.fault("AnswerLost", "orders -> inventory")
    op = builder.op(at=600, took=100)
    for number in range(2):
        builder.attempt(
            "orders -> inventory", "POST /reserve", op=op, at=610 + 20 * number, upstream=201, error="reset"
        )
    assert "nothing was repeated" in result(builder, "I1").missing


def test_i1_a_repetition_of_another_call_decides_nothing_of_this_one() -> None:
    builder = charged(keys=("k",))
    op = builder.op(at=600, took=100)
    for number in range(2):
        builder.attempt(op=op, at=610 + 20 * number, upstream=201, error="reset")
    assert "nothing was repeated" in result(builder, "I1").missing


@pytest.mark.parametrize(("node", "at", "expected"), [("payments", 50, "PASS"), ("inventory", 50, "INCONCLUSIVE")])
def test_i1_only_the_crash_of_a_node_that_works_for_the_ledger_decides(node: str, at: float, expected: str) -> None:
    builder = charged(keys=("k",))
    builder.node(node, "killed", at=at)
    assert result(builder, "I1").outcome == expected


def test_i1_no_effect_at_all_decides_nothing() -> None:
    assert "recorded no effect" in result(charged(effects=0), "I1").missing


def test_i1_names_the_fault_that_hit_nothing() -> None:
    builder = HistoryBuilder()
    builder.fault("AnswerLost", "orders -> payments", hits=0)
    sent = builder.attempt("payments -> acquirer", "POST /charges", op=builder.op(), at=10)
    builder.stub_effect(attempt=sent, at=11, marker="m")
    assert "f1 (AnswerLost on orders -> payments) hit nothing" in result(builder, "I1").missing


def test_i1_services_that_forward_nothing_are_judged_by_exclusive_use() -> None:
    for effects, expected in ((1, "PASS"), (2, "FAIL")):
        builder = HistoryBuilder()
        builder.op(link="test -> shop", operation="POST /orders", took=500)
        builder.fault("AnswerLost", "shop -> pay")
        builder.attempt("shop -> pay", at=10, error="reset", upstream=201, faults=("f1",))
        builder.attempt("shop -> pay", at=60)
        for number in range(effects):
            sent = builder.attempt("pay -> bank", "POST /charges", at=12 + 50 * number)
            builder.stub_effect("bank", at=13 + 50 * number, attempt=sent, key="o-1")
        found = result(builder, "I1", Idempotency("bank"))
        assert found.outcome == expected, found
        assert expected == "PASS" or {"a1", "a2", "f1"} <= set(found.witness)


def test_i1_a_state_ledger_is_judged_by_its_counts() -> None:
    for count, expected in ((1, "PASS"), (2, "FAIL")):
        builder = charged(effects=0)
        builder.state("payments", "charges", "ord-1", count=count)
        assert result(builder, "I1", Idempotency("payments:charges")).outcome == expected


def test_i1_operations_of_one_stub_are_counted_apart() -> None:
    builder = charged()
    sent = builder.attempt("payments -> acquirer", "POST /refunds", op=builder._ops[0], at=300)
    builder.stub_effect(operation="POST /refunds", attempt=sent, at=301, key="r1", marker="ord-1")
    assert result(builder, "I1").outcome == "PASS"


def concurrent(*, effects: int = 1, statuses: tuple[int, int] = (201, 409)) -> HistoryBuilder:
    builder = HistoryBuilder()
    for number, status in enumerate(statuses):
        op = builder.op(at=number, took=100, status=status, idempotency_key="same")
        sent = builder.attempt("payments -> acquirer", "POST /charges", op=op, at=20 + number)
        if number < effects:
            builder.stub_effect(attempt=sent, at=25 + number, marker=f"ord-{number}")
    return builder


@pytest.mark.parametrize(
    ("effects", "statuses", "expected"),
    [(1, (201, 409), "PASS"), (1, (201, 201), "PASS"), (2, (201, 201), "FAIL"), (1, (201, 404), "FAIL")],
)
def test_i3_concurrent_equal_calls_have_one_effect(effects: int, statuses: tuple[int, int], expected: str) -> None:
    assert result(concurrent(effects=effects, statuses=statuses), "I3").outcome == expected


def test_i3_calls_one_after_the_other_are_not_concurrent() -> None:
    assert result(charged(), "I3").outcome == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [(("k", "k"), "PASS"), (("k1", "k2"), "FAIL"), (("", ""), "INCONCLUSIVE"), (("k",), "INCONCLUSIVE")],
)
def test_i9_one_key_on_all_attempts(keys: tuple[str, ...], expected: str) -> None:
    assert result(charged(keys=keys), "I9").outcome == expected


def test_i9_on_a_named_link_there_must_be_a_key() -> None:
    assert result(charged(keys=("", "")), "I9", Idempotency("acquirer", link="orders -> payments")).outcome == "FAIL"


def test_i9_one_key_for_two_intents_is_found() -> None:
    builder = HistoryBuilder()
    for number in range(2):
        builder.attempt(op=builder.op(at=100 * number), at=10 + 100 * number, key="constant", marker=f"ord-{number}")
    assert result(builder, "I9").outcome == "FAIL"


def test_a_ledger_without_a_name_is_refused() -> None:
    with pytest.raises(ChaosError, match="must name a node"):
        Idempotency("")
