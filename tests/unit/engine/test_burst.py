"""Load: so many calls at once, or so many at a time."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pytest_chaos.engine.chaos import Chaos
from pytest_chaos.engine.identity import Identities
from pytest_chaos.errors import ChaosError


class Caller:
    """All that a burst needs of its test."""

    _identities = Identities(1, "test")
    burst: Any = Chaos.burst


BURST = Caller().burst


def test_all_calls_are_made_at_once_and_answer_in_their_order() -> None:
    together = threading.Barrier(50, timeout=10)

    def call(index: int) -> int:
        together.wait()
        return index

    assert BURST(50, call) == list(range(50))


def test_what_a_call_raises_is_its_result() -> None:
    def call(index: int) -> int:
        if index == 1:
            raise KeyError(index)
        return index

    zero, one, two = BURST(3, call)
    assert (zero, two) == (0, 2)
    assert isinstance(one, KeyError)


def test_no_more_than_so_many_are_made_at_a_time() -> None:
    lock, under_way, most = threading.Lock(), 0, 0
    pairs = threading.Barrier(4, timeout=10)

    def call(_: int) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        pairs.wait()
        with lock:
            under_way -= 1

    assert BURST(20, call, concurrency=4) == [None] * 20
    assert most == 4


@pytest.mark.parametrize(
    ("calls", "concurrency", "says"),
    [
        (0, None, "calls=0.*1 to 1000"),
        (1001, None, "calls=1001"),
        (5, 0, "concurrency=0.*1 to 5"),
        (5, 6, "concurrency=6"),
        (1.5, None, "calls=1.5.*whole number"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(calls: Any, concurrency: Any, says: str) -> None:
    with pytest.raises(ChaosError, match=says):
        BURST(calls, lambda _: None, concurrency=concurrency)
