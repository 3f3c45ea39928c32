"""What keeps a node's starts slow: each start stands still until every hold is over or lifted."""

from __future__ import annotations

import asyncio
import contextlib
import time

from pytest_chaos.injectors.starts import Hold
from pytest_chaos.runtimes.base import Running


class Holds:
    """The holds on one node's starts."""

    def __init__(self) -> None:
        self._all: list[Hold] = []

    @property
    def longest_s(self) -> float:
        """How much longer a start takes at most, in seconds."""
        return max((hold.by_s for hold in self._all if not hold.lifted.is_set()), default=0.0)

    def add(self, by_s: float) -> Hold:
        """Hold every start from now on."""
        hold = Hold(by_s=by_s)
        self._all.append(hold)
        return hold

    def lift(self, hold: Hold) -> None:
        """Let starts, one that is held now among them, go on; lifting twice is no error."""
        hold.lifted.set()
        if hold in self._all:
            self._all.remove(hold)

    async def stand_still(self, running: Running) -> float:
        """Freeze what has just been started until nothing holds it; give for how long, in seconds."""
        holds = [hold for hold in self._all if not hold.lifted.is_set()]
        if not holds:
            return 0.0
        began = time.monotonic()
        await running.pause()
        for hold in holds:
            hold.starts_ns.append(time.monotonic_ns())
        await asyncio.gather(*map(_over, holds))
        await running.resume()
        return time.monotonic() - began


async def _over(hold: Hold) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(hold.lifted.wait(), hold.by_s)
