"""The replay against simulated breakers: no false alarm on a sound one, and each planted defect is found."""

from __future__ import annotations

import pytest

from pytest_chaos.automata.breaker import Replay, Spec, replay
from tests.property import breakers
from tests.property.breakers import FAILURES, MS, SUCCESSES, WAIT_S, Sound, Traffic

E_NS = 5 * MS
SPEC = Spec(
    failures=FAILURES,
    wait_ns=int(WAIT_S * 1e9),
    successes=SUCCESSES,
    probes=1,
    late="any",
    neutral="any",
    slack_ns=2 * E_NS,
)


def judge(breaker: Sound, seed: int, rate: float = 15.0) -> Replay:
    return replay(SPEC, Traffic(seed=seed, rate=rate).observe(breaker, E_NS))


@pytest.mark.parametrize("block", range(4))
def test_a_sound_breaker_gives_no_false_alarm_in_200_seeds(block: int) -> None:
    for seed in range(block * 50, block * 50 + 50):
        result = judge(Sound(), seed, rate=10.0 + seed % 30)
        assert not result.exhausted, f"seed {seed}: {result.peak} hypotheses"
        assert result.witness is None, f"seed {seed}: {result.witness} in {result.states}"


@pytest.mark.parametrize(
    ("planted", "at_least"),
    [
        (breakers.NeverTrips, 10),
        (breakers.EarlyWake, 10),
        (breakers.Flood, 8),
        (breakers.ClosesOnFirst, 8),
        (breakers.FailedProbeIgnored, 9),
        (breakers.StuckOpen, 10),
        (breakers.OneTooMany, 8),
        (breakers.OneTooFew, 8),
        (breakers.TheDocuments, 10),
    ],
)
def test_a_planted_breaker_is_found(planted: type[Sound], at_least: int) -> None:
    found = [seed for seed in range(10) if judge(planted(), seed, rate=30.0).witness is not None]
    assert len(found) >= at_least, f"{planted.__name__}: found in {len(found)} of 10 seeds"
