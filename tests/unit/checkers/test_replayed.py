"""What a fault delivers itself is nobody's retry, and what it brings about counts."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_chaos.automata.grouping import group
from pytest_chaos.checkers.breaker import CircuitBreaker
from pytest_chaos.checkers.bulkhead import Bulkhead
from pytest_chaos.checkers.idempotency import Idempotency
from pytest_chaos.checkers.retry import Retry
from pytest_chaos.checkers.safe_resend import SafeResend
from pytest_chaos.checkers.timeout import Deadline
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.verdict import Checker
from pytest_chaos.testing import HistoryBuilder, assert_laws

LINK = "orders -> payments"


def outcomes(checker: Checker, builder: HistoryBuilder) -> dict[str, str]:
    return {one.rule: one.outcome for one in assert_laws(checker, builder.build()).results}


def delivered_twice(*, effects: int, replayed: bool = True) -> HistoryBuilder:
    """Build a charge that was answered and then reached payments again, with so many effects."""
    builder = HistoryBuilder()
    op = builder.op(took=300)
    builder.fault("DeliverTwice", LINK)
    for number in range(2):
        fault = {"replayed": replayed, "faults": ("f1",)} if number else {}
        builder.attempt(LINK, op=op, at=10 + 50 * number, status=201, marker="o-1", **fault)
    for number in range(effects):
        sent = builder.attempt("payments -> acquirer", "POST /charges", op=op, at=12 + 50 * number, key=f"k{number}")
        builder.stub_effect(attempt=sent, at=14 + 50 * number)
    return builder


@pytest.mark.parametrize("checker", [Retry(LINK), SafeResend(), CircuitBreaker(LINK), Bulkhead(LINK, limit=1)])
def test_a_second_delivery_is_not_the_callers_retry(checker: Checker) -> None:
    assert "FAIL" not in outcomes(checker, delivered_twice(effects=1)).values()


def test_the_same_requests_sent_by_the_caller_are_a_retry_after_a_success() -> None:
    assert outcomes(Retry(LINK), delivered_twice(effects=1, replayed=False))["R10"] == "FAIL"
    (call,) = group(delivered_twice(effects=1).build(), LINK).calls
    assert [one.id for one in call.attempts] == ["a1"]


def test_the_effect_of_a_second_delivery_counts() -> None:
    found = assert_laws(Idempotency("acquirer"), delivered_twice(effects=2).build()).of("I1")
    assert found is not None
    assert found.outcome == "FAIL"
    assert {"a2", "f1", "e1", "e2"} <= set(found.witness)


def test_one_effect_of_two_deliveries_is_what_idempotency_promises() -> None:
    found = assert_laws(Idempotency("acquirer"), delivered_twice(effects=1).build()).of("I1")
    assert found is not None
    assert (found.outcome, "was delivered to payments twice" in found.message) == ("PASS", True)


def test_work_that_a_second_delivery_sets_off_is_a_run_of_its_own() -> None:
    builder = HistoryBuilder()
    op = builder.op(took=300)
    builder.attempt("test -> orders", "POST /api/orders", op=op, at=1, took=40)
    for number in range(3):
        builder.attempt(LINK, op=op, at=10 + number, took=1, marker="o-1", error="reset", key="k")
    builder.attempt("test -> orders", "POST /api/orders", op=op, at=45, took=40, replayed=True)
    for number in range(3):
        builder.attempt(LINK, op=op, at=60 + number, took=1, marker="o-1", error="reset", key="k")
    (call,) = group(builder.build(), LINK).calls
    assert [len(run.attempts) for run in call.runs] == [3, 3]
    assert outcomes(Retry(LINK, max_attempts=3), builder)["R1"] == "PASS"


def test_a_request_that_was_kept_back_may_still_have_its_effect() -> None:
    builder = HistoryBuilder()
    attempt = builder.attempt(LINK, error="reset", forwarded=False, deferred=True)
    assert (attempt.effect, attempt.outcome) == ("unknown", "info")
    sent = dataclasses.replace(attempt, deferred=False)
    assert isinstance(sent, Attempt)
    assert (sent.effect, sent.outcome) == ("none", "fail")


@pytest.mark.parametrize(("deferred", "outcome"), [(True, "INCONCLUSIVE"), (False, "FAIL")])
def test_a_callee_that_got_a_request_late_did_not_work_for_one_who_had_left(deferred: bool, outcome: str) -> None:
    builder = HistoryBuilder()
    op = builder.op(took=1000)
    builder.fault("DeliverLate", LINK)
    builder.attempt(LINK, op=op, at=1, took=20, error="eof", closed_by="caller", deferred=deferred, faults=("f1",))
    builder.attempt(LINK, op=op, at=700, took=40, replayed=True, faults=("f1",))
    builder.attempt("payments -> acquirer", "POST /charges", op=op, at=710)
    assert outcomes(Deadline(LINK), builder)["T3"] == outcome


@pytest.mark.parametrize(("replayed", "expected"), [(True, "INCONCLUSIVE"), (False, "FAIL")])
def test_a_key_made_anew_for_a_request_that_a_fault_delivered_again_is_no_unsafe_resend(
    replayed: bool, expected: str
) -> None:
    builder = HistoryBuilder()
    op = builder.op(took=300)
    builder.fault("DeliverTwice", "users -> orders")
    for number in range(2):
        fault = {"replayed": replayed, "faults": ("f1",)} if number else {}
        builder.attempt("users -> orders", "POST /api/orders", op=op, at=10 + 100 * number, took=60, **fault)
        builder.attempt(LINK, op=op, at=20 + 100 * number, key=f"k{number}", error="reset", upstream=201)
    assert outcomes(SafeResend(), builder)["R5"] == expected


def asked_twice(keys: str, *, took: float = 60, replayed: bool = True, second: float = 25) -> HistoryBuilder:
    """Build an order that is asked for twice, and the payments for it in time order, each reset, with these keys."""
    builder = HistoryBuilder()
    op = builder.op(took=300)
    builder.fault("DeliverTwice", "users -> orders")
    builder.attempt("users -> orders", "POST /api/orders", op=op, at=10, took=took)
    fault = {"replayed": True, "faults": ("f1",)} if replayed else {}
    builder.attempt("users -> orders", "POST /api/orders", op=op, at=second, took=took, **fault)
    for number, key in enumerate(keys):
        builder.attempt(LINK, op=op, at=20 + 10 * number, took=2, key=key, error="reset", upstream=201)
    return builder


# The second request comes at 25, while the first is worked on: payments at 20, 30, 40, 50 are two times two.
@pytest.mark.parametrize("checker", [SafeResend(), Retry(LINK, max_attempts=2)])
def test_what_two_deliveries_at_once_send_is_not_paired(checker: Checker) -> None:
    assert "FAIL" not in outcomes(checker, asked_twice("abab")).values()
    verdict = assert_laws(checker, asked_twice("abab").build())
    found = verdict.of("R5")
    assert found is not None
    assert found.outcome == "INCONCLUSIVE"
    assert "to orders again while the first one was worked on" in found.missing


@pytest.mark.parametrize("checker", [SafeResend(), Retry(LINK, max_attempts=2)])
def test_another_key_before_the_second_delivery_came_or_without_one_is_found(checker: Checker) -> None:
    assert outcomes(checker, asked_twice("ab", second=55))["R5"] == "FAIL"
    assert outcomes(checker, asked_twice("abab", replayed=False))["R5"] == "FAIL"


@pytest.mark.parametrize(("keys", "expected"), [("abcd", "FAIL"), ("aabb", "PASS"), ("aabc", "FAIL"), ("ab", "FAIL")])
def test_each_of_two_deliveries_one_after_the_other_is_held_to_one_key(keys: str, expected: str) -> None:
    builder = asked_twice(keys, took=22, second=36)  # the first is answered at 32
    assert outcomes(SafeResend(), builder)["R5"] == expected


def test_a_second_delivery_two_services_before_is_not_paired_either() -> None:
    def built(*, replayed: bool) -> HistoryBuilder:
        builder = HistoryBuilder()
        op = builder.op(took=300)
        for number in range(2):
            at, fault = 10 + 100 * number, {"replayed": replayed, "faults": ("f1",)} if number else {}
            builder.attempt("users -> orders", "POST /api/orders", op=op, at=at, took=60, **fault)
            builder.attempt(LINK, op=op, at=at + 5, took=40, key="same", error="reset", upstream=201)
            builder.attempt("payments -> bank", op=op, at=at + 10, took=5, key=f"k{number}", error="reset")
        builder.fault("DeliverTwice", "users -> orders")
        return builder

    assert outcomes(SafeResend(), built(replayed=False))["R5"] == "FAIL"
    assert outcomes(SafeResend(), built(replayed=True))["R5"] != "FAIL"
    assert outcomes(Retry("payments -> bank"), built(replayed=True))["R9"] != "FAIL"
