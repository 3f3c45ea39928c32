"""Simulated breakers, right and wrong, under random traffic with outages, observed with noise; seeded."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from pytest_chaos.automata.breaker import Event

MS = 1_000_000
FAILURES, WAIT_S, SUCCESSES = 5, 3.0, 3


@dataclass
class Sound:
    """Five failures in a row open it for three seconds; one probe at a time; three successes in a row close it."""

    mode: str = "closed"
    failed: int = 0
    good: int = 0
    probing: int = 0
    opened: float = 0.0
    era: int = 0
    wait_s: float = WAIT_S
    probes: int = 1
    needed: int = SUCCESSES
    limit: int = FAILURES

    def admit(self, now: float) -> int | None:
        if self.mode == "open" and now >= self.opened + self.wait_s:
            self.enter("half-open")
        if self.mode == "open" or (self.mode == "half-open" and self.probing >= self.probes):
            return None
        self.probing += self.mode == "half-open"
        return self.era

    def enter(self, mode: str) -> None:
        self.mode, self.failed, self.good, self.probing, self.era = mode, 0, 0, 0, self.era + 1

    def result(self, ok: bool, permit: int, now: float) -> None:
        if permit != self.era:
            return
        self.probing -= self.mode == "half-open"
        if ok:
            self.failed = 0
            self.good += self.mode == "half-open"
            if self.mode == "half-open" and self.good >= self.needed:
                self.enter("closed")
            return
        self.failed += 1
        if self.mode == "half-open" or self.failed >= self.limit:
            self.opened = now
            self.enter("open")


class LateCounted(Sound):
    """A right one by other lights: results of an older era count in the state of the day, except while it is open."""

    def result(self, ok: bool, permit: int, now: float) -> None:
        if self.mode != "open" and permit == self.era:
            super().result(ok, permit, now)


class NeverTrips(Sound):
    def result(self, ok: bool, permit: int, now: float) -> None:
        pass


class EarlyWake(Sound):
    wait_s = WAIT_S / 3

    def __init__(self) -> None:
        super().__init__(wait_s=WAIT_S / 3)


class Flood(Sound):
    def __init__(self) -> None:
        super().__init__(probes=10_000)


class ClosesOnFirst(Sound):
    def __init__(self) -> None:
        super().__init__(needed=1)


class FailedProbeIgnored(Sound):
    def result(self, ok: bool, permit: int, now: float) -> None:
        if not ok and self.mode == "half-open" and permit == self.era:
            self.probing -= 1
            return
        super().result(ok, permit, now)


class StuckOpen(Sound):
    def __init__(self) -> None:
        super().__init__(wait_s=WAIT_S * 3)


class OneTooMany(Sound):
    def __init__(self) -> None:
        super().__init__(limit=FAILURES + 1)


class OneTooFew(Sound):
    def __init__(self) -> None:
        super().__init__(limit=FAILURES - 1)


class TheDocuments(Sound):
    """The class of the document: successes count as failures did, any number of probes, every result counts."""

    def admit(self, now: float) -> int | None:
        if self.mode == "open":
            if now - self.opened <= self.wait_s:
                return None
            self.mode = "half-open"
        return 0

    def result(self, ok: bool, permit: int, now: float) -> None:
        if ok:
            self.failed += self.mode == "half-open"
            if self.mode != "half-open" or self.failed >= SUCCESSES:
                self.failed, self.mode = 0, "closed"
            return
        self.failed += 1
        self.opened = now
        if self.failed >= FAILURES:
            self.mode = "open"


@dataclass
class Traffic:
    """Poisson calls on a dependency with outages; times in s, noise (how late anybody learns) in ms."""

    seed: int
    length_s: float = 30.0
    rate: float = 15.0
    noise_ms: float = 4.0
    outages: tuple[tuple[float, float], ...] = ((4.0, 9.0), (16.0, 21.0))
    queue: list[tuple[float, int, str, int, bool]] = field(default_factory=list)

    def observe(self, breaker: Sound, e_ns: int) -> list[Event]:
        chance = random.Random(self.seed)
        now, number = 0.0, 0
        while now < self.length_s:
            now += chance.expovariate(self.rate)
            number += 1
            heapq.heappush(self.queue, (now, number, "call", 0, False))
        events: list[Event] = []
        noise = lambda: chance.uniform(0, self.noise_ms) / 1000
        while self.queue:
            now, number, what, permit, ok = heapq.heappop(self.queue)
            if what == "learn":
                breaker.result(ok, permit, now)
                continue
            leave = breaker.admit(now)
            if leave is None:
                low, high = now - noise(), now + noise()
                events.append(Event(kind="reject", low=int(low * 1e9), high=int(high * 1e9), call=f"r{number}"))
                continue
            seen = now + noise()
            ended = seen + chance.uniform(0.004, 0.06)
            good = not any(start <= seen < stop for start, stop in self.outages) and chance.random() > 0.02
            start_ns, end_ns = int(seen * 1e9), int(ended * 1e9)
            events.append(Event(kind="admit", low=start_ns - e_ns, high=start_ns, call=f"c{number}"))
            events.append(
                Event(
                    kind="result",
                    low=end_ns,
                    high=end_ns + e_ns,
                    call=f"c{number}",
                    result="success" if good else "failure",
                )
            )
            heapq.heappush(self.queue, (ended + noise(), number, "learn", leave, good))
        return events
