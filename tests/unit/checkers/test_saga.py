"""Saga: it ends, undoes, repeats, survives, tells the truth and balances; each rule with a planted violation."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_chaos.checkers.saga import Saga, Step
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.verdict import RuleResult
from pytest_chaos.testing import HistoryBuilder, assert_laws

RESERVE, RELEASE, CONFIRM = (
    "/shop.InventoryService/Reserve",
    "/shop.InventoryService/Release",
    "/shop.InventoryService/Confirm",
)
STEPS = (
    Step(
        "reserve",
        "orders -> inventory",
        RESERVE,
        RELEASE,
        done="inventory:reservations",
        standing=("reserved", "confirmed"),
    ),
    Step(
        "pay",
        "orders -> payments",
        "POST /payments",
        "POST /refunds",
        done="acquirer:POST /charges",
        undone="acquirer:POST /refunds",
        money=True,
    ),
    Step("confirm", "orders -> inventory", CONFIRM, pivot=True),
)
SAGA = Saga("orders", steps=STEPS, stock="inventory:stock", initial_stock={"apple": 10})
ID = "ord-1"


class Story:
    """Tells what one order saga did, event after event."""

    def __init__(self, *, status: int = 201, **more: Any) -> None:
        self.builder = HistoryBuilder()
        self.now = 10.0
        self.op = self.builder.op(took=2000, status=status, response_body='{"id": "ord-1"}', **more)
        self.builder.fault("AnswerLost", "orders -> payments", lifted=5000)

    def send(
        self,
        operation: str,
        *,
        grpc: int | None = 0,
        status: int | None = None,
        error: str = "",
        upstream: int | None = None,
        key: str = "",
    ) -> None:
        self.now += 50
        is_grpc = operation.startswith("/")
        name = "inventory" if is_grpc else "payments"
        self.builder.attempt(
            f"orders -> {name}",
            operation,
            op=self.op,
            at=self.now,
            status=status,
            grpc=grpc if is_grpc and not error else None,
            error=error,
            upstream=upstream,
            key=key or f"{operation}-{ID}",
            marker="" if is_grpc else ID,
            faults=("f1",) if error else (),
        )

    def charge(self, operation: str = "POST /charges", amount: int = 500) -> None:
        sent = self.builder.attempt("payments -> acquirer", operation, op=self.op, at=self.now + 1)
        self.builder.stub_effect(
            "acquirer",
            operation,
            at=self.now + 2,
            attempt=sent,
            key=f"{operation}-{ID}",
            marker=ID,
            amount_minor=amount,
        )

    def ends(
        self, state: str, *, reservation: str = "", amount: int = 500, stock: tuple[int, int, int] = (10, 0, 0)
    ) -> HistoryBuilder:
        if state:
            self.builder.state("orders", "orders", ID, state=state, amount_minor=amount)
        if reservation:
            self.builder.state("inventory", "reservations", ID, state=reservation)
        for name, count in zip(("available", "reserved", "sold"), stock, strict=True):
            self.builder.state("inventory", "stock", "apple", state=name, count=count)
        return self.builder


def completed(**more: Any) -> HistoryBuilder:
    story = Story(**more)
    for operation in (RESERVE, "POST /payments", CONFIRM):
        story.send(operation)
        if operation == "POST /payments":
            story.charge()
    return story.ends("CONFIRMED", reservation="confirmed", stock=(8, 0, 2))


def turned(
    *,
    status: int = 503,
    refund_fails: int = 0,
    release: bool = True,
    refund: bool = True,
    forward: bool = False,
    **more: Any,
) -> HistoryBuilder:
    """Build a saga whose confirm was refused: refunded, then released, as told."""
    story = Story(status=status, **more)
    story.send(RESERVE)
    story.send("POST /payments")
    story.charge()
    story.send(CONFIRM, grpc=9, upstream=9)
    undo = ["POST /refunds"] if refund else []
    undo += [RELEASE] if release else []
    for operation in reversed(undo) if forward else undo:
        if operation == "POST /refunds":
            for _ in range(refund_fails):
                story.send(operation, status=503)
        story.send(operation)
        if operation == "POST /refunds":
            story.charge("POST /refunds")
    return story.ends(
        "COMPENSATED", reservation="released" if release else "reserved", stock=(10, 0, 0) if release else (8, 2, 0)
    )


def result(builder: HistoryBuilder, rule: str, saga: Saga = SAGA, **more: Any) -> RuleResult:
    found = assert_laws(saga, builder.build(**more)).of(rule)
    assert found is not None
    return found


@pytest.mark.parametrize("rule", ["G1", "G6", "G10", "H1"])
def test_a_completed_saga_holds(rule: str) -> None:
    assert result(completed(), rule).outcome == "PASS"


@pytest.mark.parametrize("rule", ["G1", "G2", "G3", "G10", "H1"])
def test_a_compensated_saga_holds(rule: str) -> None:
    assert result(turned(), rule).outcome == "PASS"


@pytest.mark.parametrize("rule", ["G1", "G2", "G3", "G4", "G5", "G6", "G7", "G10", "T4", "H1"])
def test_without_a_saga_nothing_is_decided(rule: str) -> None:
    assert result(HistoryBuilder(), rule).outcome == "INCONCLUSIVE"


@pytest.mark.parametrize("rule", ["G2", "G3", "G4", "G5", "G7", "T4"])
def test_a_saga_that_completed_undisturbed_proves_nothing_about_undoing(rule: str) -> None:
    assert result(completed(), rule).outcome == "INCONCLUSIVE"


def test_sagas_of_earlier_tests_are_left_alone() -> None:
    builder = completed()
    builder.state("orders", "orders", "ord-0", state="PENDING", amount_minor=1)
    assert result(builder, "G1").outcome == "PASS"


def test_g1_a_saga_that_never_ends_is_found() -> None:
    story = Story(status=202)
    story.send(RESERVE)
    assert result(story.ends("PENDING", reservation="reserved"), "G1").outcome == "FAIL"


def test_g1_a_saga_that_its_orchestrator_has_forgotten_is_found() -> None:
    story = Story(status=500)
    story.send("POST /payments")
    story.charge()
    assert result(story.ends(""), "G1").outcome == "FAIL"


def test_g2_what_stands_after_compensation_is_found() -> None:
    assert result(turned(release=False), "G2").outcome == "FAIL"
    assert result(turned(refund=False), "G2").outcome == "FAIL"


def test_g3_undoing_in_forward_order_is_found() -> None:
    assert result(turned(forward=True), "G3").outcome == "FAIL"


def test_g4_a_refund_that_is_repeated_until_it_succeeds_holds() -> None:
    assert result(turned(refund_fails=2), "G4").outcome == "PASS"


def refund_given_up(*, release: bool, status: int = 500) -> HistoryBuilder:
    story = Story(status=status)
    story.send(RESERVE)
    story.send("POST /payments")
    story.charge()
    story.send(CONFIRM, grpc=9, upstream=9)
    story.send("POST /refunds", status=503)
    if release:
        story.send(RELEASE)
    return story.ends(
        "COMPENSATED", reservation="released" if release else "reserved", stock=(10, 0, 0) if release else (8, 2, 0)
    )


@pytest.mark.parametrize("release", [True, False])
def test_g4_a_refund_tried_once_is_found(release: bool) -> None:
    verdict = assert_laws(SAGA, refund_given_up(release=release).build())
    assert any("undoing 'pay' was tried 1 time" in one.message for one in verdict.results if one.rule == "G4")


def test_g4_an_undo_skipped_because_another_failed_is_found() -> None:
    verdict = SAGA.check(refund_given_up(release=False).build())
    assert any("'reserve' was never tried" in one.message for one in verdict.results if one.rule == "G4")


def test_h1_a_saga_that_calls_itself_compensated_while_something_stands_is_found() -> None:
    assert result(refund_given_up(release=False), "H1").outcome == "FAIL"


def test_g5_a_second_refund_is_found() -> None:
    story = Story(status=503)
    story.send("POST /payments")
    story.charge()
    for _ in range(2):
        story.send("POST /refunds")
        story.charge("POST /refunds")
    assert result(story.ends("COMPENSATED"), "G5").outcome == "FAIL"


def test_g5_repeated_requests_with_one_effect_hold() -> None:
    assert result(turned(refund_fails=1), "G5").outcome == "PASS"


def test_g6_undoing_after_the_pivot_is_found() -> None:
    story = Story()
    for operation in (RESERVE, CONFIRM, RELEASE):
        story.send(operation)
    assert result(story.ends("CONFIRMED", reservation="released"), "G6").outcome == "FAIL"


def killed(state: str, **more: Any) -> HistoryBuilder:
    builder = completed(**more) if state == "CONFIRMED" else Story(status=500).ends(state)
    builder.node("orders", "killed", at=140)
    builder.node("orders", "ready", at=400)
    return builder


def test_g7_a_saga_that_survives_the_death_of_its_orchestrator_holds() -> None:
    assert result(killed("CONFIRMED"), "G7").outcome == "PASS"


def test_g7_a_saga_that_is_lost_with_its_orchestrator_is_found() -> None:
    story = Story(status=None)  # type: ignore[arg-type]
    story.send(RESERVE)
    story.builder.node("orders", "killed", at=100)
    story.builder.node("orders", "ready", at=400)
    assert result(story.ends("PENDING", reservation="reserved"), "G7").outcome == "FAIL"


@pytest.mark.parametrize("amount", [499, 0])
def test_g10_an_amount_that_does_not_add_up_is_found(amount: int) -> None:
    story = Story()
    story.send("POST /payments")
    story.charge(amount=amount)
    assert result(story.ends("CONFIRMED", reservation="confirmed", stock=(8, 0, 2)), "G10").outcome == "FAIL"


@pytest.mark.parametrize("stock", [(11, 0, 0), (11, -1, 0), (7, 0, 2)])
def test_g10_stock_that_does_not_add_up_is_found(stock: tuple[int, int, int]) -> None:
    story = Story()
    story.send("POST /payments")
    story.charge()
    assert result(story.ends("CONFIRMED", reservation="confirmed", stock=stock), "G10").outcome == "FAIL"


def unknown(follow: str) -> HistoryBuilder:
    """Build a charge whose answer was lost, followed up or not."""
    story = Story(status=503)
    story.send(RESERVE)
    story.send("POST /payments", error="reset", upstream=201, key="charge-ord-1")
    story.charge()
    if follow == "repeat":
        story.send("POST /payments", key="charge-ord-1")
        story.send(CONFIRM)
        return story.ends("CONFIRMED", reservation="confirmed", stock=(8, 0, 2))
    if follow == "undo":
        story.send("POST /refunds")
        story.charge("POST /refunds")
    if follow == "fresh key":
        story.send("POST /payments", key="charge-again-ord-1")
    story.send(RELEASE)
    return story.ends("COMPENSATED", reservation="released")


@pytest.mark.parametrize(
    ("follow", "expected"), [("repeat", "PASS"), ("undo", "PASS"), ("", "FAIL"), ("fresh key", "FAIL")]
)
def test_t4_an_unknown_outcome_is_followed_up(follow: str, expected: str) -> None:
    assert result(unknown(follow), "T4").outcome == expected


def test_a_charge_taken_for_not_done_breaks_the_books_too() -> None:
    failed = {one.rule for one in SAGA.check(unknown("").build()).results if one.outcome == "FAIL"}
    assert {"T4", "G2", "G10"} <= failed


@pytest.mark.parametrize(
    ("status", "build", "expected"),
    [
        (201, turned, "FAIL"),
        (402, turned, "PASS"),
        (402, completed, "FAIL"),
        (202, turned, "PASS"),
        (503, completed, "PASS"),
    ],
)
def test_h1_the_answer_agrees_with_the_end(status: int, build: Any, expected: str) -> None:
    assert result(build(status=status), "H1").outcome == expected


def test_a_fault_that_is_still_active_forbids_a_pass() -> None:
    story = Story()
    story.builder.fault("Hold", "orders -> inventory", lifted=None)
    story.send("POST /payments")
    story.charge()
    assert result(story.ends("CONFIRMED", reservation="confirmed", stock=(8, 0, 2)), "G1").outcome == "INCONCLUSIVE"


def test_a_declaration_that_names_nothing_is_refused() -> None:
    with pytest.raises(ChaosError, match="at least one Step"):
        Saga("orders")
    with pytest.raises(ChaosError, match="must name a link"):
        Step("pay", "payments", "POST /payments")
