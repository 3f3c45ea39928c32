"""Retry schedules as bounds on the gap between the end of one attempt and the start of the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_chaos.errors import ChaosError

Jitter = Literal["none", "full", "equal", "plus-minus-20", "decorrelated", "additive"]
_JITTERS = ("none", "full", "equal", "plus-minus-20", "decorrelated", "additive")
_GROWTH = 3


@dataclass(frozen=True, slots=True)
class Exponential:
    """Waits of ``base_s * multiplier ** k`` seconds before attempt k + 2 (k from 0), capped, with ``jitter``.

    Jitters: ``full`` [0, v]; ``equal`` [v/2, v]; ``plus-minus-20`` [0.8 v, 1.2 v] (gRPC A6); ``decorrelated`` [base,
    3 x previous gap]; ``additive`` v + [0, ``spread_s``]. After AWS's backoff simulator, gRPC A6, stamina.
    ``multiplier=1`` is a constant wait. Raises ChaosError on a value out of range.
    """

    base_s: float
    multiplier: float = 2.0
    cap_s: float | None = None
    jitter: Jitter = "none"
    spread_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no schedule."""
        for name, value, low in (
            ("base_s", self.base_s, 0.0),
            ("multiplier", self.multiplier, 1.0),
            ("spread_s", self.spread_s, 0.0),
        ):
            if not value >= low:
                msg = f"Exponential: {name}={value!r}: must be {low:g} or more"
                raise ChaosError(msg)
        if self.cap_s is not None and not self.cap_s > 0:
            msg = f"Exponential: cap_s={self.cap_s!r}: must be more than 0 s, or None"
            raise ChaosError(msg)
        if self.jitter not in _JITTERS:
            msg = f"Exponential: jitter={self.jitter!r}: must be one of {', '.join(_JITTERS)}"
            raise ChaosError(msg)

    def bounds(self, k: int, previous_gap_s: float = 0.0) -> tuple[float, float]:
        """Give the least and the most seconds of gap ``k`` (from 0); ``previous_gap_s`` matters to ``decorrelated``."""
        cap = float("inf") if self.cap_s is None else self.cap_s
        ideal = min(cap, self.base_s * self.multiplier**k)
        if self.jitter == "full":
            return 0.0, ideal
        if self.jitter == "equal":
            return ideal / 2, ideal
        if self.jitter == "plus-minus-20":
            return 0.8 * ideal, 1.2 * ideal
        if self.jitter == "decorrelated":
            return min(cap, self.base_s), min(cap, _GROWTH * max(self.base_s, previous_gap_s))
        if self.jitter == "additive":
            return ideal, min(cap, ideal + self.spread_s)
        return ideal, ideal
