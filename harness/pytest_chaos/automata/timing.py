"""How far a time may be off before it counts: one clock, a calibrated skew, the harness's own lag.

Source of the formulas: ``u = max(50 ms, 10 % of the bound, harness lag)``; a timing FAIL must exceed skew and lag.
"""

from __future__ import annotations

from collections.abc import Iterable

from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import History

NS_PER_S = 1_000_000_000
_FLOOR_NS = 50_000_000


def ns(seconds: float) -> int:
    """Turn seconds into nanoseconds."""
    return round(seconds * NS_PER_S)


def skew_ns(history: History) -> int:
    """Give the skew ``e`` by which any two observed times may be off, the harness's lag included; ns."""
    return history.tolerance_ns + history.lag_ns


def slack_ns(history: History, bound_ns: int) -> int:
    """Give ``u``, by which an upper bound is widened for work that is nobody's fault; ns."""
    return max(_FLOOR_NS, bound_ns // 10, history.lag_ns)


def latest_ns(history: History, bound_ns: int) -> int:
    """Give the upper bound that a violation has to exceed: the bound, the slack and the skew; ns."""
    return bound_ns + slack_ns(history, bound_ns) + skew_ns(history)


def end_ns(attempt: Attempt, history: History) -> int:
    """Give when an attempt ended for its caller; one that never did lasts as long as the history."""
    return history.ended_ns if attempt.ended_ns is None else attempt.ended_ns


def seconds(duration_ns: int) -> str:
    """Write a duration for a person: ``0.2 s``, ``34 ms``."""
    if abs(duration_ns) < NS_PER_S // 10:
        return f"{duration_ns / 1e6:.0f} ms"
    return f"{duration_ns / NS_PER_S:.2f}".rstrip("0").rstrip(".") + " s"


def restarts(history: History, node: str) -> list[int]:
    """List when a node came to life anew or lost it within the history; ns, ascending."""
    lives = {"started", "killed", "stopped", "exited"}
    return sorted(event.at_ns for event in history.node_events if event.node == node and event.event in lives)


def between(times: Iterable[int], after_ns: int, before_ns: int) -> bool:
    """Whether any of the times lies in [after, before]."""
    return any(after_ns <= time <= before_ns for time in times)
