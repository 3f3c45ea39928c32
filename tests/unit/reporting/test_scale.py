"""Time to pixels: later is never further left, and only emptiness is drawn short."""

from __future__ import annotations

import dataclasses
import itertools

from hypothesis import given
from hypothesis import strategies as st

from fixtures.histories.failing import retry_case, saga_case
from fixtures.histories.values import ns
from pytest_chaos.reporting.scale import Scale, idle_stretches
from pytest_chaos.reporting.story import tell

SAGA = tell(saga_case().history, ("a3", "n1", "n3"))
RETRY = tell(retry_case().history, ("a11", "a14"))


@given(st.lists(st.floats(-100, 7000), min_size=2))
def test_later_is_never_further_left_and_all_is_within_the_edges(times):
    scale = Scale(SAGA, 200, 1184)
    xs = [scale.x(ns(at)) for at in sorted(times)]
    assert all(one <= two for one, two in itertools.pairwise(xs))
    assert all(200 <= x <= 1184.1 for x in xs)


def test_the_edges_of_the_story_are_the_edges_of_the_drawing():
    for story in (SAGA, RETRY):
        scale = Scale(story, 200, 1184)
        assert scale.x(story.from_ns) == 200
        assert abs(scale.x(story.to_ns) - 1184) < 0.2


def test_a_restart_leaves_a_stretch_in_which_nothing_happens():
    assert [round((one.end_ns - one.start_ns) / 1e6) for one in idle_stretches(SAGA)] == [933, 1196]


def test_a_wait_between_attempts_is_always_drawn_to_scale():
    assert idle_stretches(RETRY) == ()
    assert idle_stretches(tell(retry_case().history, ("a13", "a14"))) == ()


def test_an_open_request_is_always_drawn_to_scale():
    history = saga_case().history
    held = dataclasses.replace(history.attempts[2], ended_ns=ns(6000))
    attempts = (*history.attempts[:2], held, *history.attempts[3:])
    assert idle_stretches(tell(dataclasses.replace(history, attempts=attempts), ("a3", "n1", "n3"))) == ()


def test_ticks_are_round_rise_and_lie_where_they_say():
    for story in (SAGA, RETRY):
        scale = Scale(story, 200, 1184)
        ticks = scale.ticks()
        assert 2 <= len(ticks) <= 14
        assert all(one[0] < two[0] for one, two in itertools.pairwise(ticks))
        assert all(abs(scale.x(ns(float(label.replace(",", "")))) - x) < 0.2 for x, label in ticks)
