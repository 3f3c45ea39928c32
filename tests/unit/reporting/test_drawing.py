"""The drawing: everything on the canvas, labels where they can be read."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from fixtures.histories.failing import many_attempts, retry_case, saga_case
from fixtures.histories.others import hostile_case, passed_case, unhit_case
from pytest_chaos.reporting.drawing import GUTTER, WIDTH, draw
from pytest_chaos.reporting.story import tell

CHAR = 6.3
"""Width of a letter of the drawing's type, in px."""
STORM = many_attempts(400)[1]
CASES = [retry_case(), saga_case(), unhit_case(), passed_case(), hostile_case(), STORM]


def drawing(case):
    witness = next((one.witness for verdict in case.verdicts for one in verdict.results if one.witness), ())
    return draw(tell(case.history, witness))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.nodeid[:40])
def test_everything_is_drawn_within_the_canvas(case):
    drawn = drawing(case)
    boxes = [*drawn.bands, *drawn.shades, *drawn.breaks]
    boxes += [box for strip in drawn.strips for box in (*strip.bars, *strip.waits, *strip.marks)]
    for box in boxes:
        assert GUTTER <= box.x <= WIDTH
        assert 0 <= box.y <= drawn.height - box.height
        assert box.x + box.width <= WIDTH + 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.nodeid[:40])
def test_lanes_lie_below_one_another(case):
    for one, two in itertools.pairwise(drawing(case).strips):
        assert one.y + one.height == pytest.approx(two.y)


def test_no_label_lies_on_the_length_of_a_wait():
    case = retry_case()
    lost = {"error": "reset", "status": None, "upstream_status": 201}
    attempts = tuple(dataclasses.replace(one, **lost) for one in case.history.attempts)
    drawn = draw(tell(dataclasses.replace(case.history, attempts=attempts), ("a11", "a12", "a13", "a14")))
    strip = next(strip for strip in drawn.strips if len([wait for wait in strip.waits if wait.label]) > 1)
    for wait in strip.waits:
        begins = wait.label_x - len(wait.label) * CHAR / 2
        ends = [bar.label_x + len(bar.label) * CHAR for bar in strip.bars if bar.label and bar.x <= wait.x]
        assert not wait.label or max(ends) <= begins


def test_every_number_of_the_witness_is_drawn_once():
    numbers = sorted(
        box.number for strip in drawing(retry_case()).strips for box in (*strip.bars, *strip.marks) if box.number
    )
    assert numbers == [1, 2, 3, 4]


def test_the_band_of_a_fault_is_on_its_own_lane_too():
    drawn = drawing(retry_case())
    (shade,) = drawn.shades
    lane = next(strip for strip in drawn.strips if strip.title == "orders -> payments")
    assert shade.y == lane.y
    assert (
        drawn.bands[0].label == "f1 Status(status=503, first=3, operation=POST /payments) on orders -> payments, 3 hits"
    )


def test_a_fault_that_hit_nothing_looks_otherwise():
    assert drawing(unhit_case()).bands[0].css == "unhit"
    assert drawing(retry_case()).bands[0].css == "hit"


def test_a_wait_says_how_long_it_was():
    lane = next(strip for strip in drawing(retry_case()).strips if strip.waits)
    assert [wait.label for wait in lane.waits] == ["wait 205 ms", "wait 203 ms", "wait 204 ms"]


def test_a_state_that_was_read_later_says_when():
    marks = [mark.label for strip in drawing(saga_case()).strips for mark in strip.marks]
    assert any(label.endswith("at 6,101 ms") for label in marks)


def test_a_long_name_is_cut_and_whole_in_the_title():
    case = retry_case()
    long = "a" * 80 + " -> b"
    attempts = tuple(dataclasses.replace(one, link=long) for one in case.history.attempts)
    drawn = draw(tell(dataclasses.replace(case.history, attempts=attempts), ("a11",)))
    strip = next(strip for strip in drawn.strips if strip.bars and strip.name != "driver")
    assert len(strip.name) <= 30
    assert strip.title == long
