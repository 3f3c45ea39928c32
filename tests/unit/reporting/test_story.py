"""The story of a witness: what it must show, what it may cut, and that it says so."""

from __future__ import annotations

import dataclasses

import pytest

from fixtures.histories.failing import many_attempts, retry_case, saga_case
from fixtures.histories.others import unhit_case
from pytest_chaos.model.history import FaultRecord, History
from pytest_chaos.reporting.story import MAX_BANDS, MAX_BARS, MAX_LANES, MAX_NUMBERED, tell

WITNESS = ("a11", "a12", "a13", "a14")


def shown(story):
    return {bar.moment.id for lane in story.lanes for bar in lane.bars} | {
        tick.id for lane in story.lanes for tick in lane.ticks
    }


@pytest.mark.parametrize("case", [retry_case(), saga_case()], ids=["retry", "saga"])
def test_every_event_of_a_witness_is_shown_and_numbered_in_time_order(case):
    for result in (one for verdict in case.verdicts for one in verdict.results if one.outcome == "FAIL"):
        story = tell(case.history, result.witness)
        assert set(result.witness) <= shown(story)
        assert sorted(story.numbers.values()) == list(range(1, len(result.witness) + 1))


def test_the_waits_of_a_retry_are_the_gaps_between_its_attempts():
    lane = next(lane for lane in tell(retry_case().history, WITNESS).lanes if lane.name == "orders -> payments")
    assert [round((wait.end_ns - wait.start_ns) / 1e6, 1) for wait in lane.waits] == [205.0, 202.9, 203.8]


def test_the_fault_that_was_active_is_shown_and_one_that_was_not_is_not():
    history = retry_case().history
    later = FaultRecord(
        id="f9", kind="Reset", target="orders -> payments", installed_ns=history.started_ns + 900_000_000
    )
    story = tell(dataclasses.replace(history, faults=(*history.faults, later)), WITNESS)
    assert [fault.id for fault in story.faults] == ["f1"]


def test_a_state_that_was_read_at_the_end_does_not_stretch_the_story():
    history = saga_case().history
    story = tell(history, ("a3", "orders-1"))
    assert story.to_ns < history.started_ns + 200_000_000
    assert "orders-1" in shown(story)


def test_a_killed_node_has_a_lane_with_what_happened_to_it():
    lane = next(lane for lane in tell(saga_case().history, ("a3", "n1", "n3")).lanes if lane.name == "orders")
    assert [tick.status for tick in lane.ticks] == ["killed", "started", "ready"]


def test_without_a_witness_the_whole_test_is_told():
    history = unhit_case().history
    assert {"a1", "a2", "o1"} <= shown(tell(history, ()))


def test_the_lane_of_a_fault_is_there_when_nothing_went_over_its_link():
    history = unhit_case().history
    fault = dataclasses.replace(history.faults[0], target="orders -> nowhere")
    assert "orders -> nowhere" in [lane.name for lane in tell(dataclasses.replace(history, faults=(fault,)), ()).lanes]


def test_nothing_recorded_is_no_story():
    assert tell(History(test="t", started_ns=0, ended_ns=1), ()) is None


def test_a_witness_that_the_history_does_not_hold_still_gives_a_story():
    story = tell(retry_case().history, ("ghost",))
    assert story is not None
    assert story.numbers == {}


def test_a_storm_is_cut_and_the_cut_is_said():
    case = many_attempts(2000)[1]
    story = tell(case.history, case.verdicts[0].results[0].witness)
    drawn = [bar for lane in story.lanes for bar in lane.bars]
    assert len(drawn) <= MAX_BARS
    assert len(story.numbers) == MAX_NUMBERED
    assert set(story.numbers) <= {bar.moment.id for bar in drawn}
    assert any("attempts are not drawn" in what for what in story.cut)
    assert any("carry no number" in what for what in story.cut)


def test_too_many_lanes_and_faults_are_cut_and_the_cut_is_said():
    history = retry_case().history
    tries = tuple(dataclasses.replace(history.attempts[0], id=f"x{n}", link=f"s{n} -> t{n}") for n in range(30))
    faults = tuple(dataclasses.replace(history.faults[0], id=f"g{n}") for n in range(20))
    story = tell(dataclasses.replace(history, attempts=tries, faults=faults), ())
    assert len(story.lanes) <= MAX_LANES
    assert len(story.faults) == MAX_BANDS
    assert any("lanes are not drawn" in what or "attempts" in what for what in story.cut)
    assert any("fault windows" in what for what in story.cut)
