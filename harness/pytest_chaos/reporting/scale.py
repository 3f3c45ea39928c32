"""Time to pixels on one axis. Long stretches in which nothing at all is open are drawn short, and marked as such."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_chaos.reporting.story import Story

_IDLE_SHARE = 0.25
_IDLE_LEAST_NS = 100_000_000
_IDLE_WIDTH = 64.0
_LABEL = 34.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """A stretch of time that is not drawn to scale: nothing was open in it and nothing happened, ns."""

    start_ns: int
    end_ns: int


class Scale:
    """Maps the story's time onto the pixels from ``left`` to ``right``: linear but for the idle stretches."""

    def __init__(self, story: Story, left: float, right: float) -> None:
        self._story = story
        self.idle = idle_stretches(story)
        skipped = sum(one.end_ns - one.start_ns for one in self.idle)
        self._drawn_ns = max(story.to_ns - story.from_ns - skipped, 1)
        self._per_ns = (right - left - _IDLE_WIDTH * len(self.idle)) / self._drawn_ns
        self._left = left

    def x(self, at_ns: int) -> float:
        """The x of a time; what lies outside of the story is drawn at its edge."""
        at = min(max(at_ns, self._story.from_ns), self._story.to_ns)
        x = self._left
        position = self._story.from_ns
        for one in self.idle:
            if at <= one.start_ns:
                break
            x += (one.start_ns - position) * self._per_ns
            x += _IDLE_WIDTH * (min(at, one.end_ns) - one.start_ns) / (one.end_ns - one.start_ns)
            position = min(at, one.end_ns)
        return round(x + (at - position) * self._per_ns, 1)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Round milliseconds since the test began, about eight of them, none within an idle stretch."""
        raw = self._drawn_ns / 1e6 / 8
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
        found: list[tuple[float, str]] = []
        position = self._story.from_ns
        for until in (*(one.start_ns for one in self.idle), self._story.to_ns):
            first = math.ceil((position - self._story.origin_ns) / 1e6 / step)
            last = math.floor((until - self._story.origin_ns) / 1e6 / step)
            found += [
                (self.x(self._story.origin_ns + int(number * step * 1e6)), f"{number * step:,.10g}")
                for number in range(first, last + 1)
            ]
            position = next((one.end_ns for one in self.idle if one.start_ns == until), until)
        # The length of an idle stretch is written above it: no tick's label may lie there.
        taken = [(self.x(one.start_ns) - _LABEL, self.x(one.end_ns) + _LABEL) for one in self.idle]
        return tuple((x, label) for x, label in found if not any(left < x < right for left, right in taken))


def idle_stretches(story: Story) -> tuple[Idle, ...]:
    """The stretches of more than a quarter of the story with no request open, no wait going on, and no event."""
    busy: list[tuple[int, int]] = []
    for lane in story.lanes:
        busy += [(bar.start_ns, bar.end_ns) for bar in lane.bars]
        busy += [(wait.start_ns, wait.end_ns) for wait in lane.waits]
        busy += [
            (tick.at_ns, tick.at_ns) for tick in lane.ticks if tick.at_ns is not None and tick.at_ns <= story.to_ns
        ]
    return _gaps(sorted(busy), least_ns=max(int((story.to_ns - story.from_ns) * _IDLE_SHARE), _IDLE_LEAST_NS))


def _gaps(busy: Sequence[tuple[int, int]], *, least_ns: int) -> tuple[Idle, ...]:
    found: list[Idle] = []
    until = busy[0][1] if busy else 0
    for start, end in busy:
        if start - until > least_ns:
            margin = (start - until) // 50
            found.append(Idle(start_ns=until + margin, end_ns=start - margin))
        until = max(until, end)
    return tuple(found)
