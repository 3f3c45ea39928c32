"""Bars into rows: nothing overlaps, every wait is a real gap, what finds no room is counted."""

from __future__ import annotations

import dataclasses
import itertools

from hypothesis import given
from hypothesis import strategies as st

from fixtures.histories.failing import retry_case
from fixtures.histories.values import attempt
from pytest_chaos.reporting.moments import of_attempt
from pytest_chaos.reporting.packing import MAX_KEPT_ROWS, MAX_ROWS, chains, pack

HISTORY = retry_case().history
SPANS = st.lists(st.tuples(st.integers(0, 900), st.integers(1, 300), st.sampled_from("pqr")), max_size=60)


def bars(spans):
    """Attempts of (start, length, key), in ms."""
    return [
        of_attempt(attempt(n, "a -> b", "POST /x", start, start + length, headers={"idempotency-key": key}))
        for n, (start, length, key) in enumerate(spans)
    ]


@given(SPANS)
def test_two_bars_of_one_row_never_overlap(spans):
    packed = pack(chains(bars(spans), HISTORY))
    for _, row in itertools.groupby(
        sorted(packed.bars, key=lambda bar: (bar.row, bar.start_ns)), key=lambda bar: bar.row
    ):
        for one, two in itertools.pairwise(row):
            assert one.end_ns <= two.start_ns


@given(SPANS)
def test_every_bar_is_drawn_or_counted(spans):
    packed = pack(chains(bars(spans), HISTORY))
    assert len(packed.bars) + packed.dropped == len(spans)
    assert packed.rows <= MAX_ROWS


@given(SPANS)
def test_a_wait_goes_from_an_end_to_the_next_start_on_its_row(spans):
    packed = pack(chains(bars(spans), HISTORY))
    ends = {(bar.row, bar.end_ns) for bar in packed.bars}
    starts = {(bar.row, bar.start_ns) for bar in packed.bars}
    for wait in packed.waits:
        assert wait.end_ns > wait.start_ns
        assert (wait.row, wait.start_ns) in ends
        assert (wait.row, wait.end_ns) in starts


def test_no_wait_is_drawn_between_attempts_of_two_keys():
    assert pack(chains(bars([(0, 10, "p"), (50, 10, "q")]), HISTORY)).waits == ()
    assert len(pack(chains(bars([(0, 10, "p"), (50, 10, "p")]), HISTORY)).waits) == 1


def test_no_wait_is_drawn_behind_what_had_been_answered_well():
    one, two = (
        of_attempt(attempt(n, "a -> b", "Produce x", n * 50, n * 50 + 5, protocol="kafka", headers={})) for n in (1, 2)
    )
    assert pack(chains([one, two], HISTORY)).waits == ()
    assert len(pack(chains([dataclasses.replace(one, outcome="info"), two], HISTORY)).waits) == 1


def test_a_bar_of_the_witness_gets_a_row_where_others_do_not():
    crowd = bars([(0, 500, f"key-{number}") for number in range(60)])
    assert pack(chains(crowd, HISTORY)).rows == MAX_ROWS
    packed = pack(chains(crowd, HISTORY), keep={"a20"})
    assert "a20" in {bar.moment.id for bar in packed.bars}
    assert pack(chains(crowd, HISTORY), keep={bar.id for bar in crowd}).rows == MAX_KEPT_ROWS


def test_what_never_ended_is_open_until_the_end_of_the_test():
    (chain,) = chains([of_attempt(attempt(1, "a -> b", "GET /", 1, None))], HISTORY)
    assert chain[0].open
    assert chain[0].end_ns == HISTORY.ended_ns


def test_attempts_that_carry_nothing_belong_to_the_only_op_of_the_test():
    plain = [
        of_attempt(attempt(n, "a -> b", "POST /x", n * 50, n * 50 + 5, headers={"x-correlation-id": ""}))
        for n in (1, 2)
    ]
    assert len(pack(chains(plain, HISTORY)).waits) == 1
    two_ops = dataclasses.replace(HISTORY, ops=(*HISTORY.ops, dataclasses.replace(HISTORY.ops[0], id="o2")))
    assert pack(chains(plain, two_ops)).waits == ()
