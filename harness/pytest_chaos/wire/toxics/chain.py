"""What byte faults do to the bytes of one direction of a connection, over time. Pure: times are given, draws are made.

A direction is a :class:`Chain` of stages, one for each rule in the order of installation. What the sender does goes in
at the front as items ``(at_ns, what, data)`` and comes out at the end, later, changed, or not at all. Nothing here
waits: :meth:`Chain.due_ns` tells when there is something to come out. ``toxic_stages`` has the stages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

What = Literal["data", "eof", "rst", "end", "close", "reset"]
"""``data``, ``eof`` (FIN), ``rst`` and ``end`` (the sender closes altogether) are what a sender does; ``close`` and
``reset`` are what a fault does to the connection."""
Item = tuple[int, What, bytes]
Touch = Callable[[int, int], None]
"""``touch(at_ns, size)``: the fault has acted, on so many bytes."""
Draw = Callable[[int], float]
"""``draw(n)``: the n-th number in [0, 1) of this rule on this connection."""

NEVER_NS: Final = 2**63
"""Due when something else says so."""
_ROOM: Final = 64 * 1024


class Stage:
    """One fault on one direction. ``room``: bytes that it may hold before the sender has to wait.

    ``began_ns`` is when it came into force here: the rule's installation, or the connection's beginning after that.
    """

    room = _ROOM

    def __init__(self, params: Mapping[str, Any], *, began_ns: int, draw: Draw, touch: Touch) -> None:
        self.params, self.touch, self.draw = params, touch, draw
        self.held = 0
        self.alarm_ns: int | None = None
        """When the stage does something by itself, whatever comes."""
        self._queue: deque[Item] = deque()
        self._last_ns = began_ns
        self._draws = 0
        self.begin(began_ns)

    def begin(self, at_ns: int) -> None:
        """Come into force."""

    def take(self, item: Item) -> None:
        """Take what comes from before; here it passes in order."""
        self.put(*item)

    def alarm(self, at_ns: int) -> None:
        """Do what the alarm was set for."""

    def lift(self, at_ns: int) -> list[Item]:
        """Go out of force: give what is held, as it came."""
        held = [(at_ns, what, data) for _, what, data in self._queue]
        self._queue.clear()
        self.held = 0
        return held

    def put(self, due_ns: int, what: What, data: bytes) -> None:
        """Let an item out at a time, behind everything that was put before."""
        self._last_ns = max(self._last_ns, due_ns)
        self._queue.append((self._last_ns, what, data))
        self.held += len(data)

    def next_draw(self) -> float:
        """Give the next number in [0, 1)."""
        self._draws += 1
        return self.draw(self._draws)

    @property
    def waiting(self) -> bool:
        """Whether anything is held."""
        return bool(self._queue)

    @property
    def due_ns(self) -> int | None:
        """When something happens next, if nothing comes before."""
        first = self._queue[0][0] if self._queue else None
        if first is None or self.alarm_ns is None:
            return self.alarm_ns if first is None else first
        return min(first, self.alarm_ns)

    def ready(self, now_ns: int) -> list[Item]:
        """Give what is due, in order."""
        if self.alarm_ns is not None and self.alarm_ns <= now_ns:
            at_ns, self.alarm_ns = self.alarm_ns, None
            self.alarm(at_ns)
        out: list[Item] = []
        while self._queue and self._queue[0][0] <= now_ns:
            item = self._queue.popleft()
            self.held -= len(item[2])
            out.append(item)
        return out


class Chain:
    """The stages of one direction. ``over``: a fault has ended the connection, nothing comes out any more."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.over = False

    @property
    def full(self) -> bool:
        """Whether the sender should wait."""
        return any(stage.held >= stage.room for stage in self.stages)

    @property
    def idle(self) -> bool:
        """Whether nothing is held."""
        return not any(stage.waiting for stage in self.stages)

    def due_ns(self) -> int | None:
        """When something comes out next, or a stage acts by itself."""
        times = [due for stage in self.stages if (due := stage.due_ns) is not None and due < NEVER_NS]
        return min(times, default=None)

    def push(self, now_ns: int, what: What, data: bytes = b"") -> list[Item]:
        """Take what the sender does; give what comes out now."""
        return self._run([(now_ns, what, data)], 0, now_ns)

    def advance(self, now_ns: int) -> list[Item]:
        """Give what comes out by a time."""
        return self._run([], 0, now_ns)

    def replace(self, stages: list[Stage], now_ns: int) -> list[Item]:
        """Have these stages from now on; what those left out held goes on through the stages behind them."""
        out: list[Item] = []
        for stage in [one for one in self.stages if one not in stages]:
            place = self.stages.index(stage)
            self.stages.remove(stage)
            out += self._run(stage.lift(now_ns), place, now_ns)
        self.stages = stages
        return out

    def _run(self, items: list[Item], start: int, now_ns: int) -> list[Item]:
        if self.over:
            return []
        for stage in self.stages[start:]:
            for item in items:
                stage.take(item)
            items = stage.ready(now_ns)
        for place, (_, what, _) in enumerate(items):
            if what in ("close", "reset"):
                self.over = True
                return items[: place + 1]
        return items
