"""Bulkhead: a limit is held where it was reached, broken where it was passed, undecided where it was never met."""

from __future__ import annotations

import pytest

from pytest_chaos.checkers.bulkhead import Bulkhead
from pytest_chaos.errors import ChaosError
from pytest_chaos.testing import HistoryBuilder, assert_laws

LINK = "users -> notifications"


@pytest.mark.parametrize(("at_once", "expected"), [(4, "PASS"), (5, "FAIL"), (3, "INCONCLUSIVE"), (0, "INCONCLUSIVE")])
def test_l1(at_once: int, expected: str) -> None:
    builder = HistoryBuilder()
    for number in range(at_once):
        builder.attempt(LINK, "POST /api/notifications", at=10 + number, took=500)
    builder.attempt(LINK, "POST /api/notifications", at=900, took=500)
    assert assert_laws(Bulkhead(LINK, limit=4), builder.build()).outcome == expected


def test_a_hand_over_within_the_skew_is_not_an_overlap() -> None:
    builder = HistoryBuilder()
    builder.attempt(LINK, at=0, took=102)
    builder.attempt(LINK, at=100, took=100)
    assert assert_laws(Bulkhead(LINK, limit=1), builder.build()).outcome == "PASS"


def test_attempts_that_never_end_count_to_the_end() -> None:
    builder = HistoryBuilder()
    for number in range(3):
        builder.attempt(LINK, at=1000 * number, took=None)
    assert assert_laws(Bulkhead(LINK, limit=2), builder.build()).outcome == "FAIL"


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ChaosError, match="limit=0"):
        Bulkhead(LINK, limit=0)
