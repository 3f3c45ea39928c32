"""How many things went on at once, and when the most did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The largest number of intervals open at one time, the first moment of it (ns), and which they were."""

    count: int
    at_ns: int
    members: tuple[int, ...]


def peak(spans: Sequence[tuple[int, int]], *, shrink_ns: int = 0) -> Peak:
    """Find the most overlapped moment of closed intervals (start, end), given by their positions in ``spans``.

    Each interval is shortened by ``shrink_ns`` at its end, so that an overlap that is only skew does not count. Sweep
    over sorted ends, O(n log n); at equal times ends come first.
    """
    running: set[int] = set()
    best = Peak(count=0, at_ns=0, members=())
    for time, kind, position in _points(spans, shrink_ns):
        if kind != 1:
            running.discard(position)
            continue
        running.add(position)
        if len(running) > best.count:
            best = Peak(count=len(running), at_ns=time, members=tuple(sorted(running)))
    return best


def crowded(spans: Sequence[tuple[int, int]], level: int, *, shrink_ns: int = 0) -> list[tuple[int, int]]:
    """Give the times (begin, end) in which ``level`` or more of closed intervals are open, counted as by ``peak``."""
    found: list[tuple[int, int]] = []
    running = begun = 0
    for time, kind, _ in _points(spans, shrink_ns):
        running += 1 if kind == 1 else -1
        if kind == 1 and running == level:
            begun = time
        elif kind != 1 and running == level - 1:
            found.append((begun, time))
    return found


def _points(spans: Sequence[tuple[int, int]], shrink_ns: int) -> list[tuple[int, int, int]]:
    """Give the sorted starts (kind 1) and ends of spans: (time, kind, position)."""
    points: list[tuple[int, int, int]] = []
    for position, (start, end) in enumerate(spans):
        points.append((start, 1, position))
        points.append((max(start, end - shrink_ns), 0 if end - shrink_ns > start else 2, position))
    return sorted(points)
