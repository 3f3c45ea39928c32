"""Faults in time: held, delayed, dripping requests and answers; carried out by wire, request by request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pytest_chaos.faults import OnRequests, bounded, catalogue, one_of
from pytest_chaos.model.fault import Action

_DAY_S = 86_400.0


@catalogue.register("Hold")
@dataclass(frozen=True, slots=True)
class Hold(OnRequests):
    """The answer (with ``at="request"`` the request) is held for ``for_s`` seconds, else until the fault is lifted.

    At the answer, the callee has done its work. A caller that gives up ends the hold.
    """

    for_s: float | None = field(default=None, kw_only=True)
    at: Literal["request", "response"] = field(default="response", kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        bounded(self, "for_s", self.for_s, 0.001, _DAY_S, unit="s")
        one_of(self, "at", self.at, ("request", "response"))

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        ms = None if self.for_s is None else max(1, round(self.for_s * 1000))
        return self.rule(fault_id, "hold", {"ms": ms, "at": self.at})


@catalogue.register("Delay")
@dataclass(frozen=True, slots=True)
class Delay(OnRequests):
    """Each matching request is forwarded ``ms`` milliseconds late (1 to 600 000), give or take up to ``jitter_ms``."""

    ms: int
    jitter_ms: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        bounded(self, "ms", self.ms, 1, 600_000, unit="ms")
        bounded(self, "jitter_ms", self.jitter_ms, 0, self.ms, unit="ms (not more than ms itself)")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "latency", {"ms": self.ms, "jitter_ms": self.jitter_ms})


@catalogue.register("Drip")
@dataclass(frozen=True, slots=True)
class Drip(OnRequests):
    """The answer trickles: ``bytes`` bytes (1 to 65 536) every ``interval_ms`` milliseconds (1 to 600 000)."""

    bytes: int = field(default=1, kw_only=True)
    interval_ms: int = field(default=500, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        bounded(self, "bytes", self.bytes, 1, 65_536)
        bounded(self, "interval_ms", self.interval_ms, 1, 600_000, unit="ms")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "drip", {"bytes": self.bytes, "interval_ms": self.interval_ms, "at": "response"})
