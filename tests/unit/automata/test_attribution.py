"""Whose a thing is where tests share a stack: by what it names, else by what it belongs to, else nobody can say."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_chaos.automata.attribution import split
from pytest_chaos.model.history import Evidence
from pytest_chaos.model.op import Op
from pytest_chaos.model.span import SpanLink
from pytest_chaos.testing.history import HistoryBuilder

MINE, OTHERS = "0" * 11 + "1", "0" * 11 + "2"


def marks(test: str, number: int = 1, *only: str) -> dict[str, str]:
    """Give the headers that the driver puts on a test's call, all or some of them."""
    given = {
        "traceparent": f"00-{trace(test, number)}-00f067aa0ba902b7-01",
        "x-correlation-id": f"chaos-{test}-{number}",
        "baggage": f"chaos.correlation_id=chaos-{test}-{number}",
    }
    return {name: value for name, value in given.items() if name in only or not only}


def trace(test: str, number: int = 1) -> str:
    return f"c4a0{test}{number:016x}"


class Stage:
    """One test's call, and whatever else there was."""

    def __init__(self, **op: Any) -> None:
        self.built = HistoryBuilder()
        known: dict[str, Any] = {"correlation_id": f"chaos-{MINE}-1", "trace_id": trace(MINE)}
        self.op: Op = self.built.op(at=10, **{**known, **op})

    def split(self, **more: Any) -> tuple[Evidence, Evidence]:
        history = self.built.build()
        seen = Evidence(
            attempts=history.attempts, messages=history.messages, effects=history.effects, spans=history.spans
        )
        return split(MINE, history.ops, seen, **more)


@pytest.mark.parametrize("only", [(), ("traceparent",), ("x-correlation-id",), ("baggage",)])
def test_an_attempt_down_the_chain_is_known_by_any_mark_that_was_passed_on(only: tuple[str, ...]) -> None:
    stage = Stage()
    mine = stage.built.attempt(at=11, headers=marks(MINE, 1, *only))
    stage.built.attempt(at=11, headers=marks(OTHERS, 1, *only))
    unknown = stage.built.attempt(at=12, headers={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-1-01"})
    own, loose = stage.split()
    assert own.attempts == (mine,)
    assert loose.attempts == (unknown,)


def test_what_carries_another_tests_correlation_id_in_my_trace_is_mine_and_not_its() -> None:
    stage = Stage()
    mixed = stage.built.attempt(at=11, headers=marks(MINE, 1, "traceparent") | marks(OTHERS, 1, "x-correlation-id"))
    own, loose = stage.split()
    assert own.attempts == (mixed,)
    assert not loose
    own, loose = split(OTHERS, [stage.op], Evidence(attempts=(mixed,)))
    assert not own
    assert not loose


def test_what_was_there_before_the_first_call_is_nobodys() -> None:
    stage = Stage()
    stage.built.attempt(at=5)
    stage.built.message(marker="m", at=5)
    assert stage.split() == (Evidence(), Evidence())
    assert split(MINE, (), Evidence(attempts=(stage.built.attempt(at=20),))) == (Evidence(), Evidence())


def test_an_id_that_the_test_set_itself_is_its_own_unless_another_test_uses_it_too() -> None:
    stage = Stage(correlation_id="order-7", trace_id="a" * 32)
    mine = stage.built.attempt(at=11, headers={"x-correlation-id": "order-7"})
    traced = stage.built.attempt(at=11, headers={"traceparent": f"00-{'a' * 32}-1-01"})
    assert stage.split()[0].attempts == (mine, traced)
    stage.built.attempt(
        "test -> orders", at=11, headers=marks(OTHERS, 1, "traceparent") | {"x-correlation-id": "order-7"}
    )
    own, loose = stage.split()
    assert own.attempts == (traced,)
    assert loose.attempts == (mine,)


def test_effects_are_their_requests_and_the_ends_of_messages_are_the_messages() -> None:
    stage = Stage()
    built = stage.built
    tries = [built.attempt(at=11, headers=headers) for headers in (marks(MINE), marks(OTHERS), {})]
    charges = [built.stub_effect(at=12, attempt=one) for one in tries]
    told = [
        built.message(marker=name, at=13, correlation_id=id_)
        for name, id_ in (("m1", f"chaos-{MINE}-1"), ("m2", f"chaos-{OTHERS}-1"), ("m3", ""))
    ]
    ended = [built.message("settled", marker=name, at=14) for name in ("m1", "m2", "m3")]
    own, loose = stage.split()
    assert own.effects == (charges[0],)
    assert own.messages == (told[0], ended[0])
    assert loose.effects == (charges[2],)
    assert loose.messages == (told[2], ended[2])


def test_state_rows_are_known_by_key_marker_or_id_and_old_ones_are_nobodys() -> None:
    stage = Stage(idempotency_key="k-1")
    built = stage.built
    built.attempt(at=11, headers=marks(MINE), marker="order-1")
    built.attempt(at=11, headers=marks(OTHERS), marker="order-2")
    built.attempt(at=11, headers=marks(OTHERS), marker="both")
    built.attempt(at=11, headers=marks(MINE), marker="both")
    mine = [
        built.state("payments", "charges", "c1", marker="order-1"),
        built.state("payments", "keys", "k-1"),
        built.state("orders", "sagas", "s", fields={"correlation": f"chaos-{MINE}-1"}),
    ]
    built.state("payments", "charges", "c2", marker="order-2")
    loose = [built.state("payments", "charges", "c3", marker="both"), built.state("inventory", "stock", "sku", count=9)]
    before = (built.state("inventory", "stock", "old", count=3),)
    own, left = stage.split(before=before)
    assert own.effects == tuple(mine)
    assert left.effects == tuple(loose)


def test_a_trace_that_a_consumer_began_belongs_to_the_one_test_whose_messages_it_links_to() -> None:
    stage = Stage()
    built = stage.built

    def consumed(new: str, *tests: str) -> Any:
        links = tuple(SpanLink(trace_id=trace(test), span_id="1" * 16) for test in tests)
        return built.span("mail", kind="consumer", trace=new, at=12, links=links)

    mine, _others, both, none = (
        consumed("a" * 32, MINE),
        consumed("b" * 32, OTHERS),
        consumed("c" * 32, MINE, OTHERS),
        consumed("d" * 32),
    )
    child = built.attempt("mail -> gateway", at=13, headers={"traceparent": f"00-{'a' * 32}-1-01"})
    mixed = built.attempt("mail -> gateway", at=13, headers={"traceparent": f"00-{'c' * 32}-1-01"})
    own, loose = stage.split()
    assert own.spans == (mine, both)
    assert own.attempts == (child,)
    assert loose.spans == (none,)
    assert loose.attempts == (mixed,)


def test_of_too_much_the_rest_is_counted() -> None:
    stage = Stage()
    for _ in range(250):
        stage.built.attempt(at=11)
    _, loose = stage.split()
    assert (len(loose.attempts), loose.more) == (200, 50)
    assert "200 requests (such as a1 POST /payments on orders -> payments), 50 more" in str(loose)
