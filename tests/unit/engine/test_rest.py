"""Rest is when nothing goes on, twice in a row; a connection that lives long is not a request."""

from __future__ import annotations

import pytest

from pytest_chaos.engine import quiescence
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.message import Effect


def _open(protocol: str) -> Attempt:
    return Attempt(
        id="a1", link="a -> b", connection="c1", reused=False, protocol=protocol, connected_ns=0, started_ns=0
    )  # type: ignore[arg-type]


def _row(ledger: str, count: int = 1, state: str = "") -> Effect:
    return Effect(id="e", node="orders", ledger=ledger, key="k", source="state", at_ns=0, count=count, state=state)


def test_what_goes_on_is_named() -> None:
    assert quiescence.unrest(0, [_open("tcp")], {"bus q": 0}, [_row("outbox", 0), _row("orders", 1, "CONFIRMED")]) == ()
    assert quiescence.unrest(1, [], {}, []) == ("1 calls of the driver have not returned",)
    assert "a1" in quiescence.unrest(0, [_open("http/1.1")], {}, [])[0]
    assert quiescence.unrest(0, [], {"bus q": 2}, []) == ("bus q: 2 messages wait",)
    assert "outbox" in quiescence.unrest(0, [], {}, [_row("outbox", 3)])[0]
    assert "PENDING" in quiescence.unrest(0, [], {}, [_row("orders", 1, "PENDING")])[0]


def test_one_calm_look_is_not_rest() -> None:
    looks = iter([("a",), (), ("b",), (), ()])
    assert quiescence.settle(lambda: next(looks), timeout_s=5) == ()
    with pytest.raises(StopIteration):
        next(looks)


def test_what_still_goes_on_when_the_time_is_up_is_given() -> None:
    assert quiescence.settle(lambda: ("busy",), timeout_s=0.1) == ("busy",)
