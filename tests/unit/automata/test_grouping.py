"""How attempts become calls: the order of trust, separate intents, separate runs, and no guessing."""

from __future__ import annotations

from pytest_chaos.automata.grouping import Grouped, group, transport_resend
from pytest_chaos.testing import HistoryBuilder

LINK = "orders -> payments"


def grouped(builder: HistoryBuilder, link: str = LINK) -> Grouped:
    return group(builder.build(), link)


def shapes(found: Grouped) -> list[tuple[str, int]]:
    return [(call.how, len(call.attempts)) for call in found.calls]


def test_a_marker_joins_attempts_with_fresh_keys() -> None:
    builder = HistoryBuilder()
    op = builder.op()
    for number in range(3):
        builder.attempt(op=op, at=10 * number, marker="ord-1", key=f"fresh-{number}", status=503)
    assert shapes(grouped(builder)) == [("marker", 3)]


def test_a_trace_joins_attempts_with_fresh_keys_and_no_marker() -> None:
    builder = HistoryBuilder()
    op = builder.op()
    for number in range(3):
        builder.attempt(op=op, at=20 * number, key=f"fresh-{number}", status=503)
    assert shapes(grouped(builder)) == [("trace", 3)]


def test_a_correlation_id_stands_in_for_a_trace() -> None:
    builder = HistoryBuilder()
    op = builder.op()
    for number in range(2):
        builder.attempt(
            at=20 * number,
            status=503,
            headers={"x-correlation-id": op.correlation_id, "traceparent": f"00-{number:032d}-aa-01"},
        )
    (call,) = grouped(builder).calls
    assert (call.how, len(call.attempts), call.op) == ("trace", 2, op)


def test_a_key_joins_what_nothing_else_does() -> None:
    builder = HistoryBuilder()
    for at in (0, 10):
        builder.op(at=at, took=500)
    for number in range(2):
        builder.attempt(at=20 + 20 * number, key="k", status=503)
    assert shapes(grouped(builder)) == [("key", 2)]


def test_exclusive_use_joins_what_carries_nothing() -> None:
    builder = HistoryBuilder()
    for at in (0, 1000):
        builder.op(at=at, took=500)
    for at in (20, 40, 1020):
        builder.attempt(at=at, status=503)
    assert shapes(grouped(builder)) == [("exclusive", 2), ("exclusive", 1)]


def test_overlap_without_identity_is_loose() -> None:
    builder = HistoryBuilder()
    for at in (0, 10):
        builder.op(at=at, took=500)
    builder.attempt(at=20)
    found = grouped(builder)
    assert (found.calls, len(found.loose)) == ((), 1)


def test_operations_of_one_trace_are_different_intents() -> None:
    builder = HistoryBuilder()
    op = builder.op()
    builder.attempt(op=op, at=10, marker="ord-1")
    builder.attempt(operation="POST /payments/refunds", op=op, at=50, marker="ord-1")
    assert shapes(grouped(builder)) == [("marker", 1), ("marker", 1)]


def test_two_bodies_in_one_trace_are_two_intents() -> None:
    builder = HistoryBuilder()
    op = builder.op()
    for number in range(4):
        builder.attempt(op=op, at=20 * number, body=f"line {number % 2}", status=503)
    assert shapes(grouped(builder)) == [("trace", 2), ("trace", 2)]


def test_the_same_request_after_a_success_is_another_intent_where_only_the_trace_joins() -> None:
    builder = HistoryBuilder()
    op = builder.op()
    for number in range(2):
        builder.attempt(operation="GET /payments/1", op=op, at=20 * number)
    assert shapes(grouped(builder)) == [("trace", 1), ("trace", 1)]


def test_a_marker_in_two_calls_of_the_driver_makes_two_calls() -> None:
    builder = HistoryBuilder()
    for number in range(2):
        builder.attempt(op=builder.op(at=100 * number), at=10 + 100 * number, marker="ord-1")
    assert [call.op.id for call in grouped(builder).calls if call.op] == ["o1", "o2"]


def test_a_restart_and_another_trace_begin_a_new_run_of_the_same_call() -> None:
    builder = HistoryBuilder()
    op = builder.op(took=2000)
    builder.attempt(op=op, at=10, marker="m", error="reset")
    builder.node("orders", "killed", at=50)
    builder.attempt(op=op, at=100, marker="m", status=503)
    builder.attempt(
        at=200, marker="m", headers={"x-correlation-id": op.correlation_id, "traceparent": f"00-{'f' * 32}-aa-01"}
    )
    (call,) = grouped(builder).calls
    assert [len(run.attempts) for run in call.runs] == [1, 1, 1]


def test_what_goes_on_after_the_answer_is_detached() -> None:
    builder = HistoryBuilder()
    op = builder.op(took=100)
    builder.attempt("test -> orders", "POST /api/orders", op=op, at=1, took=90, status=202)
    for at in (10, 50, 300, 900):
        builder.attempt(op=op, at=at, marker="m", status=503)
    (call,) = grouped(builder).calls
    assert [(len(run.attempts), run.detached) for run in call.runs] == [(2, False), (2, True)]


def test_a_caller_that_gave_up_detaches_nothing() -> None:
    builder = HistoryBuilder()
    op = builder.op(took=100, status=None)
    builder.attempt("test -> orders", "POST /api/orders", op=op, at=1, took=90, error="eof", closed_by="caller")
    for at in (10, 300):
        builder.attempt(op=op, at=at, marker="m", status=503)
    (call,) = grouped(builder).calls
    assert [run.detached for run in call.runs] == [False]


def test_a_stale_connection_makes_a_resend_of_the_transport() -> None:
    builder = HistoryBuilder()
    first = builder.attempt(at=0, took=5, error="eof", reused=True)
    assert transport_resend(first, builder.attempt(at=9))
    assert not transport_resend(first, builder.attempt(at=40))
    assert not transport_resend(first, builder.attempt(at=9, body="other"))
    assert not transport_resend(first, builder.attempt(at=9, connection="c1"))
