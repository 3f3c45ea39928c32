"""Published against processed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_chaos.automata.multiset import balance

MARKERS = st.lists(st.sampled_from("abcdef"), max_size=10)


def test_each_difference_has_its_name() -> None:
    found = balance("abc", "bbdx", attempted="d", parked="c")
    assert found.lost == ("a",)
    assert found.unexpected == ("x",)
    assert found.doubled == (("b", 2),)
    assert found.recovered == ("d",)


@given(MARKERS)
def test_what_is_processed_once_as_confirmed_balances(markers: list[str]) -> None:
    found = balance(markers, set(markers))
    assert (found.lost, found.unexpected, found.doubled) == ((), (), ())


@given(MARKERS, MARKERS)
def test_nothing_is_lost_and_done(confirmed: list[str], done: list[str]) -> None:
    found = balance(confirmed, done)
    assert not set(found.lost) & set(done)
    assert set(found.unexpected) == set(done) - set(confirmed)
