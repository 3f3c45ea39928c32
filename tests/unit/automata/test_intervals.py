"""The most overlapped moment."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_chaos.automata.intervals import crowded, peak

SPANS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 30)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=12
)


def test_touching_intervals_do_not_overlap() -> None:
    assert peak([(0, 10), (10, 20)]).count == 1


def test_the_members_are_those_open_at_the_moment() -> None:
    top = peak([(0, 10), (5, 15), (8, 9), (20, 30)])
    assert (top.count, top.at_ns, top.members) == (3, 8, (0, 1, 2))


def test_a_short_overlap_within_the_skew_does_not_count() -> None:
    assert peak([(0, 11), (10, 20)], shrink_ns=2).count == 1


@given(SPANS)
def test_it_agrees_with_counting_at_every_start(spans: list[tuple[int, int]]) -> None:
    expected = max((sum(start <= at < end for start, end in spans) for at, _ in spans), default=0)
    assert peak(spans).count == expected


def test_crowded_times_are_those_in_which_so_many_are_open() -> None:
    spans = [(0, 10), (5, 15), (8, 9), (20, 30), (25, 40)]
    assert crowded(spans, 2) == [(5, 10), (25, 30)]
    assert crowded(spans, 3) == [(8, 9)]
    assert crowded(spans, 4) == []


@given(SPANS)
def test_it_is_crowded_up_to_the_peak(spans: list[tuple[int, int]]) -> None:
    top = peak(spans).count
    assert crowded(spans, top + 1) == []
    assert not top or crowded(spans, top)
