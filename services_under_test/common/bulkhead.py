"""Work on the side, bounded.

So many at once, so many waiting, each for so long; what does not fit is refused and seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


class Bulkhead:
    """Runs fire-and-forget tasks; ``dropped`` and ``failed`` count what did not work, so that it does not vanish.

    ``timeout_s`` None and ``limit`` 0 mean no bound.
    """

    def __init__(self, *, limit: int, backlog: int, timeout_s: float | None) -> None:
        self._slots = asyncio.Semaphore(limit) if limit else None
        self._room = limit + backlog if limit else 0
        self._timeout_s = timeout_s
        # The loop keeps only weak references: without this set a task may be collected before it ends.
        self._tasks: set[asyncio.Task[None]] = set()
        self.dropped = 0
        self.failed = 0

    def spawn(self, name: str, work: Callable[[], Awaitable[bool]]) -> bool:
        """Start work that tells whether it succeeded; give False when there is no room for it."""
        if self._room and len(self._tasks) >= self._room:
            self.dropped += 1
            log.warning("%s dropped: %d tasks are at it already", name, len(self._tasks))
            return False
        task = asyncio.get_running_loop().create_task(self._run(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def drain(self, grace_s: float) -> None:
        """Wait for what runs, so that a shutdown within the grace loses nothing; cancel the rest."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace_s)
            for task in late:
                task.cancel()

    async def _run(self, name: str, work: Callable[[], Awaitable[bool]]) -> None:
        if self._slots is None:
            await self._bounded(name, work)
            return
        async with self._slots:
            await self._bounded(name, work)

    async def _bounded(self, name: str, work: Callable[[], Awaitable[bool]]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                done = await work()
        except TimeoutError:
            done = False
        if not done:
            self.failed += 1
            log.warning("%s failed", name)
