"""FireAndForget: the caller's calls do not feel their side task, and the side task is bounded."""

from __future__ import annotations

import pytest

from pytest_chaos.checkers.fire_and_forget import FireAndForget
from pytest_chaos.errors import ChaosError
from pytest_chaos.testing import HistoryBuilder, assert_laws

LINK = "users -> notifications"
CHECKER = FireAndForget(LINK, operations=("POST /api/users",), bound_s=1.0, limit=4)


def users(
    *, slow: float = 30, status: int = 201, side: float | None = 1000, many: int = 4, hits: int = 1, before: bool = True
) -> HistoryBuilder:
    builder = HistoryBuilder()
    for number in range(3 if before else 0):
        builder.op("test -> users", "POST /api/users", at=100 * number, took=30, status=201)
    builder.fault("Hold", LINK, at=500, lifted=5000, hits=hits)
    for number in range(many):
        op = builder.op("test -> users", "POST /api/users", at=600 + number, took=slow, status=status)
        builder.attempt(
            LINK,
            "POST /api/notifications",
            op=op,
            at=610 + number,
            took=side,
            error="eof",
            closed_by="caller",
            faults=("f1",),
        )
    return builder


def outcome(builder: HistoryBuilder, rule: str) -> str:
    found = assert_laws(CHECKER, builder.build()).of(rule)
    assert found is not None
    return found.outcome


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "PASS"),
        ({"slow": 1030}, "FAIL"),
        ({"status": 500}, "FAIL"),
        ({"before": False}, "INCONCLUSIVE"),
        ({"hits": 0}, "INCONCLUSIVE"),
    ],
)
def test_n1(options: dict[str, object], expected: str) -> None:
    assert outcome(users(**options), "N1") == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "PASS"),
        ({"side": None}, "FAIL"),
        ({"many": 6}, "FAIL"),
        ({"many": 1, "side": 20}, "INCONCLUSIVE"),
        ({"side": 200}, "INCONCLUSIVE"),
    ],
)
def test_n2(options: dict[str, object], expected: str) -> None:
    assert outcome(users(**options), "N2") == expected  # type: ignore[arg-type]


def test_bounds_that_are_none_are_refused() -> None:
    with pytest.raises(ChaosError, match="limit=0"):
        FireAndForget(LINK, limit=0)
