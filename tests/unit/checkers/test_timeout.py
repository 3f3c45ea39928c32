"""Timeout and Deadline: attempts end, budgets shrink, work stops for callers who have left."""

from __future__ import annotations

import pytest

from pytest_chaos.checkers.timeout import Deadline, Timeout, timeout_ns
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.verdict import Checker
from pytest_chaos.testing import HistoryBuilder, assert_laws

LINK = "orders -> inventory"
CALL = "/shop.InventoryService/Reserve"


def outcome(builder: HistoryBuilder, checker: Checker, rule: str) -> str:
    found = assert_laws(checker, builder.build()).of(rule)
    assert found is not None
    return found.outcome


def held(took: float | None, *, header: str = "1S", closed_by: str = "caller") -> HistoryBuilder:
    builder = HistoryBuilder()
    op = builder.op(took=4000)
    builder.fault("Hold", LINK)
    builder.attempt(
        LINK,
        CALL,
        op=op,
        at=10,
        took=took,
        error="reset",
        faults=("f1",),
        closed_by=closed_by,
        headers={"grpc-timeout": header} if header else {},
    )
    return builder


@pytest.mark.parametrize(
    ("took", "expected"), [(1000, "PASS"), (1040, "PASS"), (1300, "FAIL"), (None, "FAIL"), (300, "INCONCLUSIVE")]
)
def test_t1_every_attempt_ends_in_time(took: float | None, expected: str) -> None:
    assert outcome(held(took), Timeout(LINK, attempt_s=1.0), "T1") == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [({"grpc_status": 0}, "INCONCLUSIVE"), ({"grpc_status": 14}, "INCONCLUSIVE"), ({"grpc_status": 4}, "PASS")],
)
def test_t1_an_answer_just_before_the_bound_shows_no_time_out(answer: dict[str, int], expected: str) -> None:
    builder = HistoryBuilder()
    builder.fault("Delay", LINK)
    builder.attempt(LINK, CALL, op=builder.op(), at=10, took=980, faults=("f1",), closed_by="callee", **answer)
    assert outcome(builder, Timeout(LINK, attempt_s=1.0), "T1") == expected


@pytest.mark.parametrize(("header", "expected"), [("1S", "PASS"), ("950m", "PASS"), ("30S", "FAIL"), ("", "FAIL")])
def test_t2_grpc_calls_say_how_long_they_have(header: str, expected: str) -> None:
    assert outcome(held(1000, header=header), Timeout(LINK, attempt_s=1.0), "T2") == expected


def test_t2_http_needs_no_header() -> None:
    builder = HistoryBuilder()
    builder.attempt(op=builder.op(), at=10, took=1000, error="eof", closed_by="caller")
    assert outcome(builder, Timeout("orders -> payments", attempt_s=1.0), "T2") == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("value", "expected"), [("1S", 10**9), ("20m", 2 * 10**7), ("3u", 3000), ("", None), ("S", None), ("1x", None)]
)
def test_grpc_timeouts_are_read(value: str, expected: int | None) -> None:
    builder = HistoryBuilder()
    assert timeout_ns(builder.attempt(LINK, CALL, headers={"grpc-timeout": value})) == expected


def asked(
    *, took: float = 500, closed_by: str = "", child: str = "", child_at: float = 100, op_at: float = 0
) -> HistoryBuilder:
    builder = HistoryBuilder()
    op = builder.op(at=op_at, took=took + 5)
    builder.fault("Hold", LINK, at=20)
    error = "eof" if closed_by else ""
    builder.attempt("test -> orders", "POST /api/orders", op=op, at=10, took=took, error=error, closed_by=closed_by)
    builder.attempt(
        LINK,
        CALL,
        op=op,
        at=child_at,
        took=50,
        grpc=0,
        headers={"grpc-timeout": child} if child else {},
        faults=("f1",),
    )
    return builder


@pytest.mark.parametrize(("took", "expected"), [(500, "PASS"), (2000, "FAIL")])
def test_t5_the_caller_gets_an_answer_in_time(took: float, expected: str) -> None:
    assert outcome(asked(took=took, child="1S"), Deadline("test -> orders", within_s=1.0), "T5") == expected


@pytest.mark.parametrize(("child", "expected"), [("800m", "PASS"), ("3S", "FAIL"), ("", "FAIL")])
def test_t2_a_child_has_not_more_time_than_is_left(child: str, expected: str) -> None:
    assert outcome(asked(child=child), Deadline("test -> orders", within_s=1.0), "T2") == expected


@pytest.mark.parametrize(("child_at", "expected"), [(100, "PASS"), (900, "FAIL")])
def test_t3_nothing_new_is_begun_for_a_caller_who_has_left(child_at: float, expected: str) -> None:
    builder = asked(took=500, closed_by="caller", child_at=child_at, child="1S")
    assert outcome(builder, Deadline("test -> orders", within_s=1.0), "T3") == expected


def test_t3_a_message_may_be_published_after_the_caller_has_left() -> None:
    builder = asked(took=500, closed_by="caller", child_at=100, child="1S")
    op = builder.build().ops[0]
    builder.attempt("orders -> keys", "XADD user.activity", op=op, at=900, protocol="resp", status=None)
    assert outcome(builder, Deadline("test -> orders", within_s=1.0), "T3") == "PASS"


def test_t3_what_has_to_go_on_may() -> None:
    builder = asked(took=500, closed_by="caller", child_at=900, child="1S")
    assert outcome(builder, Deadline("test -> orders", within_s=1.0, goes_on=(CALL,)), "T3") == "PASS"


@pytest.mark.parametrize("rule", ["T2", "T3", "T5"])
def test_without_a_deadline_nothing_is_decided(rule: str) -> None:
    assert outcome(asked(), Deadline("test -> orders"), rule) == "INCONCLUSIVE"


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ChaosError, match="attempt_s=0"):
        Timeout(LINK, attempt_s=0)
