"""Retry against simulated clients: no false alarm on a sound one, and each planted deviation is found."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_chaos.checkers.retry import Exponential, Retry
from pytest_chaos.model.history import History
from pytest_chaos.testing import HistoryBuilder

LINK = "orders -> payments"
BASE_S, ATTEMPTS, DEADLINE_S = 0.2, 4, 3.0
POLICY = Retry(LINK, max_attempts=ATTEMPTS, backoff=Exponential(BASE_S, jitter="full"), deadline_s=DEADLINE_S)

CALLS = st.lists(
    st.tuples(st.integers(0, 6), st.floats(2, 900), st.sampled_from([503, 502, 0])), min_size=1, max_size=4
)


def client(
    calls: list[tuple[int, float, int]],
    seed: int,
    *,
    attempts: int = ATTEMPTS,
    factor: float = 1.0,
    fresh: bool = False,
) -> History:
    """Simulate a client with full jitter and a deadline, observed up to 4 ms late; status 0: reset after the work."""
    chance = random.Random(seed)
    builder = HistoryBuilder()
    now = 0.0
    for number, (failures, took, status) in enumerate(calls):
        start = now = now + 20
        sent: list[tuple[float, float, bool]] = []
        for made in range(attempts):
            good = made >= failures
            sent.append((now + chance.uniform(0, 4), took, good))
            now += took + 4
            wait = chance.uniform(0, BASE_S * 1000 * 2**made) * factor + (BASE_S * 4000 if factor > 1 else 0)
            if good or now + wait - start > DEADLINE_S * 1000 - took - 10:
                break
            now += wait
        op = builder.op(at=start - 5, took=now - start + 10, status=201 if sent[-1][2] else 503)
        builder.attempt(
            "test -> orders",
            "POST /api/orders",
            op=op,
            at=start - 3,
            took=now - start + 6,
            status=201 if sent[-1][2] else 503,
        )
        for made, (at, lasted, good) in enumerate(sent):
            builder.attempt(
                op=op,
                at=at,
                took=lasted,
                marker=f"ord-{number}",
                key=f"k-{number}-{made if fresh else 0}",
                status=200 if good else status or None,
                error="" if good or status else "reset",
                upstream=None if status else 200,
                forwarded=good or not status,
            )
    return builder.build()


def failed(history: History) -> set[str]:
    return {result.rule for result in POLICY.check(history).results if result.outcome == "FAIL"}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(CALLS, st.integers(0, 10_000))
def test_a_sound_client_gives_no_false_alarm(calls: list[tuple[int, float, int]], seed: int) -> None:
    assert failed(client(calls, seed)) == set()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 10_000))
def test_one_attempt_too_many_is_found(seed: int) -> None:
    assert failed(client([(9, 5, 503)], seed, attempts=ATTEMPTS + 1)) >= {"R1"}


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 10_000))
def test_waiting_too_long_is_found(seed: int) -> None:
    assert failed(client([(2, 5, 503)], seed, factor=1.01)) >= {"R2"}


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_a_fresh_key_an_attempt_is_found(seed: int, failures: int) -> None:
    assert failed(client([(failures, 5, 0)], seed, fresh=True)) >= {"R5", "R9"}
