"""Counting is from 1, and a count that can never be reached is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_chaos.errors import FaultError
from pytest_chaos.model.fault import When


def test_nth_first_and_every_hit_what_they_say() -> None:
    assert [n for n in range(1, 7) if When(nth=(2, 5)).hits(n)] == [2, 5]
    assert [n for n in range(1, 7) if When(first=2).hits(n)] == [1, 2]
    assert [n for n in range(1, 7) if When(every=3).hits(n)] == [3, 6]
    assert all(When().hits(n) for n in range(1, 7))


@given(st.integers(max_value=0))
def test_a_count_below_one_is_refused(count: int) -> None:
    for name, wrong in (("nth", (count,)), ("first", count), ("every", count)):
        with pytest.raises(FaultError, match=f"{name}={count}: must be 1 or more"):
            When(**{name: wrong})  # type: ignore[arg-type]
