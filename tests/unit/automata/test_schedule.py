"""Bounds of retry schedules."""

from __future__ import annotations

import pytest

from pytest_chaos.automata.schedule import Exponential, Jitter
from pytest_chaos.errors import ChaosError


@pytest.mark.parametrize(
    ("jitter", "expected"),
    [
        ("none", (4.0, 4.0)),
        ("full", (0.0, 4.0)),
        ("equal", (2.0, 4.0)),
        ("plus-minus-20", (3.2, 4.8)),
        ("additive", (4.0, 4.5)),
    ],
)
def test_the_third_gap(jitter: Jitter, expected: tuple[float, float]) -> None:
    assert Exponential(1.0, jitter=jitter, spread_s=0.5).bounds(2) == pytest.approx(expected)


def test_the_cap_bounds_the_ideal() -> None:
    assert Exponential(1.0, cap_s=5.0).bounds(10) == (5.0, 5.0)


def test_decorrelated_depends_on_the_previous_gap() -> None:
    assert Exponential(1.0, jitter="decorrelated").bounds(3, 2.0) == (1.0, 6.0)


def test_a_multiplier_of_one_is_constant() -> None:
    assert [Exponential(0.5, multiplier=1.0).bounds(k)[1] for k in range(3)] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    "options",
    [{"base_s": -1}, {"base_s": 1, "multiplier": 0.5}, {"base_s": 1, "cap_s": 0}, {"base_s": 1, "jitter": "some"}],
)
def test_what_is_no_schedule_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ChaosError, match="must be"):
        Exponential(**options)  # type: ignore[arg-type]
