"""Correlation: the id is on every carrier, on retries and answers, and never somebody else's."""

from __future__ import annotations

import pytest

from pytest_chaos.checkers.correlation import Correlation, Crosstalk
from pytest_chaos.model.verdict import RuleResult
from pytest_chaos.testing import HistoryBuilder, assert_laws


def result(builder: HistoryBuilder, rule: str, *, complete: bool = False) -> RuleResult:
    found = assert_laws(Correlation(), builder.build(spans_complete=complete)).of(rule)
    assert found is not None
    return found


def mesh(
    *, calls: int = 1, outbound: str | None = None, message: str | None = None, swap: bool = False
) -> HistoryBuilder:
    """Build calls that each cause a request and a message, carrying what is told; ``swap`` mixes them up."""
    builder = HistoryBuilder()
    ops = [builder.op(at=50 * number, took=100) for number in range(calls)]
    for number, op in enumerate(ops):
        own = ops[(number + 1) % calls] if swap else op
        sent = {"x-correlation-id": own.correlation_id if outbound is None else outbound}
        builder.attempt(op=op, at=10 + 50 * number, headers={name: value for name, value in sent.items() if value})
        builder.message(
            marker=f"ev-{number}",
            at=30 + 50 * number,
            traceparent=f"00-{op.trace_id}-00000000000000aa-01",
            correlation_id=own.correlation_id if message is None else message,
        )
    return builder


@pytest.mark.parametrize("rule", ["X1", "X2", "X5"])
def test_a_sound_mesh_holds(rule: str) -> None:
    assert result(mesh(calls=2), rule).outcome == "PASS"


@pytest.mark.parametrize("rule", ["X1", "X2", "X4", "X5", "X7"])
def test_an_empty_history_decides_nothing(rule: str) -> None:
    assert result(HistoryBuilder(), rule).outcome == "INCONCLUSIVE"


def test_x1_a_request_with_another_id_is_found() -> None:
    assert result(mesh(outbound="made-up"), "X1").outcome == "FAIL"


def test_x1_a_request_without_the_id_is_found_by_its_trace() -> None:
    builder = HistoryBuilder()
    op = builder.op()
    builder.attempt(at=10, headers={"traceparent": f"00-{op.trace_id}-00000000000000aa-01"})
    found = result(builder, "X1")
    assert found.outcome == "FAIL"
    assert "no correlation id" in found.message


def test_x1_a_message_without_the_id_is_found() -> None:
    found = result(mesh(message=""), "X1")
    assert (found.outcome, "m1" in found.witness) == ("FAIL", True)


def test_x1_services_without_tracing_are_judged_by_exclusive_use() -> None:
    builder = HistoryBuilder()
    builder.op(took=100)
    builder.attempt(at=10)
    assert result(builder, "X1").outcome == "FAIL"


def test_x1_what_nobody_can_attribute_is_a_doubt_not_a_failure() -> None:
    builder = mesh(calls=2)
    builder.attempt(at=70)
    found = result(builder, "X1")
    assert (found.outcome, "a3" in found.missing) == ("INCONCLUSIVE", True)


def test_x1_a_carrier_that_promises_nothing_can_be_ignored() -> None:
    builder = mesh(message="")
    verdict = Correlation(ignore=("bus/queue",)).check(builder.build())
    assert not [one for one in verdict.results if one.outcome == "FAIL"]


def test_x2_another_calls_id_is_found() -> None:
    assert result(mesh(calls=2, swap=True), "X2").outcome == "FAIL"
    assert Crosstalk().check(mesh(calls=2, swap=True).build()).outcome == "FAIL"
    assert Crosstalk().check(mesh(calls=2).build()).outcome == "INCONCLUSIVE"


def test_x2_one_call_cannot_be_mixed_up() -> None:
    assert result(mesh(), "X2").outcome == "INCONCLUSIVE"


@pytest.mark.parametrize(("second", "expected"), [("corr-1", "PASS"), ("fresh", "FAIL")])
def test_x4_retries_carry_the_same_id(second: str, expected: str) -> None:
    builder = HistoryBuilder()
    op = builder.op(took=300)
    builder.attempt(op=op, at=10, status=503, forwarded=False)
    builder.attempt(op=op, at=100, headers={"x-correlation-id": second})
    assert result(builder, "X4").outcome == expected


@pytest.mark.parametrize(("carried", "expected"), [("corr-1", "PASS"), ("", "FAIL")])
def test_x4_dead_letters_carry_the_id(carried: str, expected: str) -> None:
    builder = HistoryBuilder()
    builder.op()
    builder.message("dead", marker="ev", at=50, correlation_id=carried)
    assert result(builder, "X4").outcome == expected


@pytest.mark.parametrize(
    ("status", "given", "expected"),
    [(200, "corr-1", "PASS"), (503, "corr-1", "PASS"), (503, "", "FAIL"), (200, "x", "FAIL")],
)
def test_x5_answers_carry_the_id_errors_too(status: int, given: str, expected: str) -> None:
    builder = HistoryBuilder()
    builder.op(status=status, response_headers={"X-Correlation-ID": given} if given else {})
    assert result(builder, "X5").outcome == expected


def test_x5_an_answer_that_a_fault_made_up_is_not_held_against_the_service() -> None:
    builder = HistoryBuilder()
    op = builder.op(status=503, response_headers={})
    builder.attempt("test -> orders", "POST /api/orders", op=op, status=503, faults=("f1",))
    builder.fault("Status", "test -> orders")
    assert result(builder, "X5").outcome == "INCONCLUSIVE"


@pytest.mark.parametrize(("at", "expected"), [("request", "INCONCLUSIVE"), ("response", "FAIL")])
@pytest.mark.parametrize(("kind", "carried"), [("DropHeader", "made-up"), ("RewriteHeader", "corr-2")])
def test_what_lies_behind_an_id_that_a_fault_took_away_is_not_judged(
    kind: str, carried: str, at: str, expected: str
) -> None:
    builder = HistoryBuilder()
    op, _ = builder.op(), builder.op(at=500)
    builder.fault(kind, "users -> orders", params={"name": "X-Correlation-ID", "at": at})
    builder.attempt("users -> orders", "POST /api/orders", op=op, at=10, faults=("f1",))
    trace = f"00-{op.trace_id}-00000000000000aa-01"
    builder.attempt(at=20, headers={"traceparent": trace, "x-correlation-id": carried})
    rule = "X1" if kind == "DropHeader" else "X2"
    found = result(builder, rule)
    assert found.outcome == ("PASS" if expected == "INCONCLUSIVE" else expected)  # the first request carried it
    assert Crosstalk().check(builder.build()).outcome != ("FAIL" if at == "request" else "")


@pytest.mark.parametrize(("context", "expected"), [("parent", "PASS"), ("link", "PASS"), ("none", "FAIL")])
def test_x7_a_consumer_span_has_the_creation_context_as_parent_or_link(context: str, expected: str) -> None:
    from pytest_chaos.model.span import SpanLink

    builder = mesh()
    trace = builder._ops[0].trace_id
    more = {
        "parent": {"trace": trace, "parent_id": "aa"},
        "link": {"trace": "f" * 32, "links": (SpanLink(trace_id=trace, span_id="aa"),)},
    }
    builder.span("email", kind="consumer", **more.get(context, {"trace": "f" * 32}))  # type: ignore[arg-type]
    assert result(builder, "X7", complete=True).outcome == expected


def test_x7_incomplete_spans_are_named_and_decide_nothing() -> None:
    found = result(mesh(), "X7")
    assert (found.outcome, "incomplete" in found.missing) == ("INCONCLUSIVE", True)


@pytest.mark.parametrize("kind", ["DropHeader", "RewriteHeader"])
@pytest.mark.parametrize(("at", "expected"), [("request", "INCONCLUSIVE"), ("response", "INCONCLUSIVE"), ("", "FAIL")])
def test_x5_an_answer_behind_an_id_that_a_fault_took_away_is_not_held_against_the_service(
    kind: str, at: str, expected: str
) -> None:
    builder = HistoryBuilder()
    op = builder.op(took=100, response_headers={})
    builder.attempt("test -> gateway", "POST /api/orders", op=op, at=1, took=90)
    if at:
        builder.fault(kind, "gateway -> orders", params={"name": "X-Correlation-ID", "at": at})
    builder.attempt("gateway -> orders", "POST /api/orders", op=op, at=10, faults=("f1",) if at else ())
    found = result(builder, "X5")
    assert found.outcome == expected
    assert ("the fault f1 itself" in found.missing) == bool(at)


def test_x5_another_call_on_which_no_fault_acted_is_still_held_to_its_id() -> None:
    builder = HistoryBuilder()
    first, second = builder.op(response_headers={}), builder.op(at=500, response_headers={})
    builder.fault("DropHeader", "gateway -> orders", params={"name": "x-correlation-id", "at": "request"})
    builder.attempt("gateway -> orders", op=first, at=10, faults=("f1",))
    builder.attempt("gateway -> orders", op=second, at=510)
    found = result(builder, "X5")
    assert (found.outcome, found.witness) == ("FAIL", (second.id,))


@pytest.mark.parametrize("hit", [True, False])
def test_x2_a_trace_that_a_fault_put_there_is_no_proof_of_the_cause(hit: bool) -> None:
    builder = HistoryBuilder()
    op, other = builder.op(took=400), builder.op(at=500)
    trace = f"00-{other.trace_id}-00000000000000aa-01"
    if hit:
        builder.fault("RewriteHeader", "users -> orders", params={"name": "traceparent", "value": trace})
        builder.attempt("users -> orders", "POST /api/orders", op=op, at=10, faults=("f1",))
    builder.attempt(at=20, headers={"traceparent": trace, "x-correlation-id": op.correlation_id})
    outcomes = [one.outcome for one in assert_laws(Correlation(), builder.build()).results if one.rule == "X2"]
    assert ("FAIL" in outcomes) is not hit
    assert Crosstalk().check(builder.build()).outcome == ("INCONCLUSIVE" if hit else "FAIL")


def test_x1_an_id_made_up_behind_a_trace_that_a_fault_took_away_is_found() -> None:
    builder = HistoryBuilder()
    op = builder.op(took=400)
    builder.fault("DropHeader", "users -> orders", params={"name": "traceparent"})
    builder.attempt("users -> orders", "POST /api/orders", op=op, at=10, faults=("f1",))
    builder.attempt(at=20, headers={"x-correlation-id": "made-up"})
    assert result(builder, "X1").outcome == "FAIL"
