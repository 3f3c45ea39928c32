"""The laws of the shop's shared parts, with a clock that only moves when it is told."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from random import Random

import pytest

from services_under_test import defects
from services_under_test.common import compensation, correlation, deadline, retry
from services_under_test.common.breaker import Breaker, Mode
from services_under_test.common.bulkhead import Bulkhead
from services_under_test.common.env import Env, SettingError
from services_under_test.common.outcome import Effect, Outcome, of_status
from services_under_test.common.strategies import Strategies


class HandClock:
    """Moves when somebody sleeps."""

    def __init__(self) -> None:
        self.at_s = 100.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at_s += seconds


class MostRandom(Random):
    """Draws the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b


POLICY = retry.RetryPolicy(
    attempts=4, backoff_base_s=1.0, backoff_cap_s=30.0, attempt_timeout_s=5.0, total_timeout_s=30.0
)
OK = of_status(200, {})
UNAVAILABLE = of_status(503, {})


def run(
    outcomes: list[Outcome], *, deadline_s: float = math.inf, cost_s: float = 0.0, strategies: Strategies | None = None
):
    clock, left = HandClock(), []

    async def attempt(number: int, left_s: float) -> Outcome:
        left.append(left_s)
        clock.at_s += min(cost_s, left_s)
        return outcomes[min(number, len(outcomes) - 1)]

    last = asyncio.run(
        retry.run(
            attempt,
            POLICY,
            retryable=(strategies or Strategies()).retryable,
            deadline_at_s=100 + deadline_s,
            clock=clock,
            rng=MostRandom(),
        )
    )
    return last, left, clock


def test_retry_pauses_double_and_end_with_the_fourth_attempt():
    last, left, clock = run([UNAVAILABLE])
    assert (last.code, len(left), clock.slept) == ("http:503", 4, [1.0, 2.0, 4.0])


def test_retry_starts_nothing_after_the_deadline_and_cuts_the_last_attempt_to_it():
    _, left, clock = run([Outcome(code="timeout", effect=Effect.UNKNOWN)], deadline_s=12.0, cost_s=5.0)
    assert left == [5.0, 5.0]
    assert clock.at_s <= 112.0
    _, left, _ = run([Outcome(code="timeout", effect=Effect.UNKNOWN)], deadline_s=8.0, cost_s=5.0)
    assert left == [5.0, 2.0]


@pytest.mark.parametrize("status", [400, 401, 402, 404, 409, 422, 500])
def test_retry_leaves_alone_what_will_not_change(status: int):
    assert len(run([of_status(status, {})])[1]) == 1


def test_retry_obeys_retry_after_or_ends():
    patient = of_status(503, {}, retry_after_s=7.0)
    assert run([patient, OK])[2].slept == [7.0]
    assert len(run([patient, OK], deadline_s=6.0)[1]) == 1


def test_retry_does_not_forget_that_an_earlier_attempt_may_have_worked():
    refused = Outcome(code="connect", effect=Effect.NONE)
    lost = Outcome(code="timeout", effect=Effect.UNKNOWN)
    assert run([refused])[0].effect is Effect.NONE
    assert run([lost, refused])[0].effect is Effect.UNKNOWN
    assert run([lost, of_status(402, {})])[0].effect is Effect.UNKNOWN
    assert run([of_status(402, {})])[0].effect is Effect.NONE


def breaker(clock: HandClock, kind: type[Breaker] = Breaker) -> Breaker:
    return kind(failures=5, wait_s=60.0, successes=3, clock=clock)


def trip(subject: Breaker, clock: HandClock) -> None:
    for _ in range(5):
        permit = subject.acquire()
        assert permit
        subject.failed(permit)
    assert subject.acquire() is None
    clock.at_s += 60.1


def test_breaker_trips_on_five_in_a_row_and_not_on_refusals_or_with_a_success_between():
    subject = breaker(HandClock())
    for result in (*[subject.failed] * 4, subject.succeeded, *[subject.failed] * 4, *[subject.neutral] * 9):
        permit = subject.acquire()
        assert permit
        result(permit)
    assert subject.mode is Mode.CLOSED
    last = subject.acquire()
    assert last
    subject.failed(last)
    assert (subject.mode, subject.acquire()) == (Mode.OPEN, None)


def test_breaker_lets_one_probe_through_at_a_time_and_closes_after_three():
    clock = HandClock()
    subject = breaker(clock)
    trip(subject, clock)
    for number in range(3):
        probe = subject.acquire()
        assert probe
        assert subject.acquire() is None, f"a second probe beside probe {number}"
        subject.succeeded(probe)
    assert subject.mode is Mode.CLOSED
    assert all(subject.acquire() for _ in range(20))


def test_breaker_opens_again_on_a_failed_probe_and_a_neutral_one_only_gives_its_place_back():
    clock = HandClock()
    subject = breaker(clock)
    trip(subject, clock)
    for result in (subject.succeeded, subject.neutral, subject.neutral, subject.succeeded, subject.failed):
        probe = subject.acquire()
        assert probe
        result(probe)
    assert subject.mode is Mode.OPEN
    assert subject.retry_after_s() == pytest.approx(60.0)


def test_breaker_ignores_results_of_an_older_era():
    clock = HandClock()
    subject = breaker(clock)
    late_success, late_failure = subject.acquire(), subject.acquire()
    assert late_success
    assert late_failure
    trip(subject, clock)
    clock.at_s -= 30
    subject.succeeded(late_success)
    subject.failed(late_failure)
    assert subject.mode is Mode.OPEN
    assert subject.retry_after_s() == pytest.approx(29.9)


def test_compensation_starts_in_order_repeats_and_holds_up_no_other():
    log: list[str] = []

    def undo(name: str, done: Callable[[], bool]) -> compensation.Undo:
        async def once() -> bool:
            log.append(name)
            return done()

        return compensation.Undo(name=name, once=once, pause=lambda _: asyncio.sleep(0))

    # The refund never succeeds before the release has: were the release to wait for it, this would not end.
    undos = [undo("refund", lambda: "release" in log and log.count("refund") > 3), undo("release", lambda: True)]
    asyncio.run(asyncio.wait_for(compensation.undo_all(undos), 2))
    assert log[0] == "refund"
    assert log.count("release") == 1
    assert log.count("refund") > 3


def test_bulkhead_bounds_what_runs_what_waits_and_for_how_long():
    async def go() -> tuple[list[bool], int, int, int]:
        subject, running, most = Bulkhead(limit=2, backlog=1, timeout_s=0.05), [0], [0]

        async def work() -> bool:
            running[0] += 1
            most[0] = max(most[0], running[0])
            try:
                await asyncio.sleep(5)
            finally:
                running[0] -= 1
            return True

        taken = [subject.spawn("work", work) for _ in range(4)]
        await subject.drain(1)
        return taken, most[0], subject.dropped, subject.failed

    assert asyncio.run(go()) == ([True, True, True, False], 2, 1, 3)


@pytest.mark.parametrize("values", [[], [""], ["a" * 129], ["a", "b"], ["a\nb"], ["ä"], ["a b"]])
def test_correlation_ids_that_cannot_be_trusted_are_replaced(values: list[str]):
    chosen = correlation.accept(values)
    assert chosen not in ("", *values)
    assert correlation.accept([chosen]) == chosen


@pytest.mark.parametrize("values", [[], ["-5"], ["1e9"], ["5", "6"], ["\u0665"]])
def test_deadlines_that_make_no_sense_are_none(values: list[str]):
    assert deadline.accept(values) == math.inf


def test_settings_that_make_no_sense_are_named():
    env = Env({"A": "x", "B": "0", "C": "[1]"})
    for read in (
        lambda: env.seconds("A", 1),
        lambda: env.count("B", 1),
        lambda: env.numbers("C", {}),
        lambda: env.required("D"),
    ):
        with pytest.raises(SettingError, match=r"[ABCD]"):
            read()


def test_every_defect_replaces_a_seam_and_names_its_rules():
    for defect_id in defects.names():
        defect = defects.find(defect_id)
        assert defect.id == defect_id
        assert defect.rules
        assert defect.scenario
        changed = defects.load(defect_id)
        assert all(getattr(changed, seam) is not getattr(Strategies(), seam) for seam in defect.replaces)
    with pytest.raises(SettingError, match=r"NO-1.*CB-1"):
        defects.load("CB-1,NO-1")


def test_cb_1_closes_on_the_first_success_and_cb_2_lets_everybody_probe():
    clock = HandClock()
    hasty = defects.load("CB-1").breaker(failures=5, wait_s=60.0, successes=3, clock=clock)
    trip(hasty, clock)
    hasty.succeeded(hasty.acquire())
    assert hasty.mode is Mode.CLOSED
    flood = defects.load("CB-2").breaker(failures=5, wait_s=60.0, successes=3, clock=clock)
    trip(flood, clock)
    assert all(flood.acquire() for _ in range(50))


def test_rt_2_repeats_refusals_and_rt_4_knows_no_deadline():
    assert len(run([of_status(400, {})], strategies=defects.load("RT-2"))[1]) == 4
    assert defects.load("RT-4").deadline_at(5.0) == math.inf
