"""A circuit breaker.

Five failures in a row open it, after a wait one probe at a time is let through, three good ones in sequence close it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services_under_test.common.clock import Clock


class Mode(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one attempt, of one era; a result that comes back in a later era changes nothing."""

    era: int


class Breaker:
    """Counts consecutive failures of one callee and keeps callers off it while it is down. Times are monotonic seconds.

    Every change of mode begins a new era. A neutral result (the callee refused the request, or the attempt was
    cancelled) only gives its permit back: it neither counts nor resets a count, and closes nothing.
    """

    def __init__(self, *, failures: int, wait_s: float, successes: int, clock: Clock) -> None:
        self._limit = failures
        self._wait_s = wait_s
        self._needed = successes
        self._clock = clock
        self.mode = Mode.CLOSED
        self._era = 0
        self._failures = 0
        self._successes = 0
        self._probing = 0
        self._opened_at_s = 0.0

    def acquire(self) -> Permit | None:
        """Give leave for one attempt, or None; every permit must come back by exactly one of the three results."""
        if not self.would_admit():
            return None
        if self.mode is Mode.OPEN:
            self._enter(Mode.HALF_OPEN)
        if self.mode is Mode.HALF_OPEN:
            self._probing += 1
        return Permit(self._era)

    def would_admit(self) -> bool:
        """Tell whether an attempt would be let through now, without taking the permit."""
        if self.mode is Mode.OPEN:
            return self._clock.now() > self._opened_at_s + self._wait_s
        return self.mode is Mode.CLOSED or self._probe_is_free(self._probing)

    def retry_after_s(self) -> float:
        """Tell how many seconds a rejected caller should stay away."""
        if self.mode is Mode.OPEN:
            return max(0.0, self._opened_at_s + self._wait_s - self._clock.now())
        return 0.0

    def succeeded(self, permit: Permit) -> None:
        """Report that the callee answered well."""
        if not self._give_back(permit):
            return
        self._failures = 0
        if self.mode is Mode.HALF_OPEN:
            self._successes += 1
            if self._enough(self._successes, self._needed):
                self._enter(Mode.CLOSED)

    def failed(self, permit: Permit) -> None:
        """Report that the callee did not answer, or with a failure of its own."""
        if not self._give_back(permit):
            return
        self._failures += 1
        if self.mode is Mode.HALF_OPEN or self._failures >= self._limit:
            self._opened_at_s = self._clock.now()
            self._enter(Mode.OPEN)

    def neutral(self, permit: Permit) -> None:
        """Report a result that says nothing about the callee's health."""
        self._give_back(permit)

    def _probe_is_free(self, probing: int) -> bool:
        return probing == 0

    def _enough(self, successes: int, needed: int) -> bool:
        return successes >= needed

    def _give_back(self, permit: Permit) -> bool:
        if permit.era != self._era:
            return False
        if self.mode is Mode.HALF_OPEN:
            self._probing -= 1
        return True

    def _enter(self, mode: Mode) -> None:
        self.mode = mode
        self._era += 1
        self._failures = 0
        self._successes = 0
        self._probing = 0
