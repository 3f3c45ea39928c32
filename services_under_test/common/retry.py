"""Retry with exponential backoff and full jitter, inside a deadline for the whole operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from random import Random

from services_under_test.common.clock import Clock
from services_under_test.common.env import Env
from services_under_test.common.outcome import Effect, Outcome

# An attempt's number (0 for the first) and the seconds that it may take.
Attempt = Callable[[int, float], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long: ``attempts`` includes the first; all times are seconds."""

    attempts: int
    backoff_base_s: float
    backoff_cap_s: float
    attempt_timeout_s: float
    total_timeout_s: float

    @classmethod
    def from_env(cls, env: Env, prefix: str) -> RetryPolicy:
        """Read ``<PREFIX>_ATTEMPTS`` and its siblings.

        The defaults are 4 attempts, 1 s base, 5 s an attempt, 30 s in all.
        """
        return cls(
            attempts=env.count(f"{prefix}_ATTEMPTS", 4),
            backoff_base_s=env.seconds(f"{prefix}_BACKOFF_BASE_S", 1.0),
            backoff_cap_s=env.seconds(f"{prefix}_BACKOFF_CAP_S", 30.0),
            attempt_timeout_s=env.seconds(f"{prefix}_ATTEMPT_TIMEOUT_S", 5.0),
            total_timeout_s=env.seconds(f"{prefix}_TOTAL_TIMEOUT_S", 30.0),
        )


def backoff_s(number: int, *, base_s: float, cap_s: float, rng: Random) -> float:
    """Draw the pause after attempt ``number`` (0 for the first).

    Uniform in [0, min(cap, base 2^number)], "full jitter" (AWS).
    """
    return rng.uniform(0.0, min(cap_s, base_s * 2.0 ** min(number, 60)))


async def run(
    attempt: Attempt,
    policy: RetryPolicy,
    *,
    retryable: Callable[[Outcome], bool],
    deadline_at_s: float,
    clock: Clock,
    rng: Random,
) -> Outcome:
    """Attempt until an outcome that is not retryable, the last attempt, or the deadline; give the last outcome.

    Its effect is that of all attempts together: once one of them may have happened, a later "did not" of another does
    not take that back, not even a refusal, which may come from something in between. A pause that would overshoot the
    deadline ends it at once (rule R7), and a Retry-After is obeyed or ends it (rule R6).
    """
    doubt = False
    number = 0
    while True:
        outcome = await attempt(number, min(policy.attempt_timeout_s, deadline_at_s - clock.now()))
        doubt = doubt or outcome.effect is Effect.UNKNOWN
        pause_s = backoff_s(number, base_s=policy.backoff_base_s, cap_s=policy.backoff_cap_s, rng=rng)
        pause_s = max(pause_s, outcome.retry_after_s or 0.0)
        number += 1
        if outcome.ok or not retryable(outcome) or number >= policy.attempts or clock.now() + pause_s >= deadline_at_s:
            return replace(outcome, effect=Effect.UNKNOWN) if doubt and not outcome.ok else outcome
        await clock.sleep(pause_s)
