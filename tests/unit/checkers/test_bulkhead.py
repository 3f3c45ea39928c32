"""Bulkhead: a limit is held where it was reached, broken where it was passed, undecided where it was never met."""

from __future__ import annotations

import pytest

from pytest_chaos.checkers.bulkhead import Bulkhead
from pytest_chaos.errors import ChaosError
from pytest_chaos.testing import HistoryBuilder, assert_laws

LINK = "users -> notifications"


def calls(*times: tuple[float, float | None], took: float = 500) -> HistoryBuilder:
    """New users, in ms: when each reached the service, and when its notification was sent (None: never)."""
    builder = HistoryBuilder()
    for came, sent in times:
        op = builder.op("test -> users", "POST /api/users", at=came, took=20)
        builder.attempt("test -> users", "POST /api/users", op=op, at=came, took=15)
        if sent is not None:
            builder.attempt(LINK, "POST /api/notifications", op=op, at=sent, took=took)
    return builder


FULL = [(float(number), 10.0 + number) for number in range(4)]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param([(20, 515)], "PASS", id="one waited"),
        pytest.param([(20, None)], "PASS", id="one was dropped"),
        pytest.param([(20, 30)], "FAIL", id="one too many"),
        pytest.param([], "INCONCLUSIVE", id="no more were wanted"),
        pytest.param([(600, 610)], "INCONCLUSIVE", id="the next came when there was room"),
        pytest.param([(509, 519)], "INCONCLUSIVE", id="the next would not have been sent earlier anyway"),
        pytest.param([(900, None)], "INCONCLUSIVE", id="nothing was sent for another reason"),
    ],
)
def test_l1(more: list[tuple[float, float | None]], expected: str) -> None:
    verdict = assert_laws(Bulkhead(LINK, limit=4), calls(*FULL, *more).build())
    assert verdict.outcome == expected


@pytest.mark.parametrize(("status", "expected"), [(400, "INCONCLUSIVE"), (429, "PASS"), (503, "PASS")])
def test_l1_a_call_that_was_refused_for_what_it_is_was_not_kept_back(status: int, expected: str) -> None:
    builder = calls(*FULL)
    builder.op("test -> users", "POST /api/users", at=20, took=5, status=status)
    assert assert_laws(Bulkhead(LINK, limit=4), builder.build()).outcome == expected


@pytest.mark.parametrize("at_once", [3, 0])
def test_l1_below_the_limit_is_undecided(at_once: int) -> None:
    builder = calls(*FULL[:at_once], (900, 910), (5, None))
    assert assert_laws(Bulkhead(LINK, limit=4), builder.build()).outcome == "INCONCLUSIVE"


def test_l1_a_message_that_waits_for_its_consumer_was_kept_back() -> None:
    builder = HistoryBuilder()
    for number in range(3):
        op = builder.op("test -> users", "POST /api/users", at=number, took=5)
        builder.attempt("email -> mailgate", "POST /mails", op=op, at=20 + 300 * number, took=290)
    assert assert_laws(Bulkhead("email -> mailgate", limit=1), builder.build()).outcome == "PASS"


def test_a_hand_over_within_the_skew_is_not_an_overlap() -> None:
    builder = calls((0, 5), (1, 105), took=102)
    assert assert_laws(Bulkhead(LINK, limit=1), builder.build()).outcome == "PASS"


def test_attempts_that_never_end_count_to_the_end() -> None:
    builder = HistoryBuilder()
    for number in range(3):
        builder.attempt(LINK, at=1000 * number, took=None)
    assert assert_laws(Bulkhead(LINK, limit=2), builder.build()).outcome == "FAIL"


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ChaosError, match="limit=0"):
        Bulkhead(LINK, limit=0)
