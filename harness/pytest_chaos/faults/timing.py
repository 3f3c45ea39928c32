"""Faults in time: held, delayed, dripping requests and answers; carried out by wire, request by request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pytest_chaos.faults import Between, OnRequests, bounded, catalogue
from pytest_chaos.model.fault import DAY_S, Action

_Ms = Annotated[int, Between(1, 600_000, "ms")]
_HoldTime = Annotated[float, Between(0.001, DAY_S, "s")]


@catalogue.register("Hold")
@dataclass(frozen=True, slots=True)
class Hold(OnRequests):
    """The answer (with ``at="request"`` the request) is held for ``for_s`` seconds, else until the fault is lifted.

    At the answer, the callee has done its work. A caller that gives up ends the hold.
    """

    for_s: _HoldTime | None = field(default=None, kw_only=True)
    at: Literal["request", "response"] = field(default="response", kw_only=True)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "hold", {"ms": _ms(self.for_s), "at": self.at})


@catalogue.register("Stall")
@dataclass(frozen=True, slots=True)
class Stall(OnRequests):
    """The answer's headers come, and ``after_bytes`` bytes of its body (0 to 16 MiB), then nothing.

    It goes on after ``for_s`` seconds, else when the fault is lifted. An answer without a body has nothing to stall.
    """

    after_bytes: Annotated[int, Between(0, 16 * 2**20)] = field(default=0, kw_only=True)
    for_s: _HoldTime | None = field(default=None, kw_only=True)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "stall", {"bytes": self.after_bytes, "ms": _ms(self.for_s)})


@catalogue.register("Delay")
@dataclass(frozen=True, slots=True)
class Delay(OnRequests):
    """Each matching request is forwarded ``ms`` milliseconds late (1 to 600 000), give or take up to ``jitter_ms``."""

    ms: _Ms
    jitter_ms: Annotated[int, Between(0, 600_000, "ms")] = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        OnRequests.__post_init__(self)
        bounded(self, "jitter_ms", self.jitter_ms, 0, self.ms, unit="ms (not more than ms itself)")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "latency", {"ms": self.ms, "jitter_ms": self.jitter_ms})


@catalogue.register("Drip")
@dataclass(frozen=True, slots=True)
class Drip(OnRequests):
    """The answer trickles: ``bytes`` bytes (1 to 65 536) every ``interval_ms`` milliseconds (1 to 600 000)."""

    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"bytes": 50, "interval_ms": 100},)

    bytes: Annotated[int, Between(1, 65_536)] = field(default=1, kw_only=True)
    interval_ms: _Ms = field(default=500, kw_only=True)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "drip", {"bytes": self.bytes, "interval_ms": self.interval_ms, "at": "response"})


def _ms(for_s: float | None) -> int | None:
    return None if for_s is None else max(1, round(for_s * 1000))
