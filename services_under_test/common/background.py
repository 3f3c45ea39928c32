"""Loops that run as long as the service does: relays, consumers, resumers."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

log = logging.getLogger(__name__)
_PAUSE_S = 0.2
_PAUSE_CAP_S = 2.0
_LONG_S = 10.0


async def load(module: str) -> Any:
    """Import a module in a thread.

    A broker's client takes longer to load than the service to answer its first request.
    """
    return await asyncio.to_thread(importlib.import_module, module)


class Background:
    """Owns tasks; a loop that ends or dies is logged and comes back after a pause that grows from 0.2 to 2 seconds."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run work once."""
        task = asyncio.get_running_loop().create_task(self._once(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run work again and again."""
        self.start(name, lambda: self._supervise(name, work))

    async def stop(self) -> None:
        """Cancel everything and wait until it is gone."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @staticmethod
    async def _once(work: Callable[[], Awaitable[None]]) -> None:
        await work()

    @staticmethod
    async def _supervise(name: str, work: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        pause_s = _PAUSE_S
        while True:
            began_s = loop.time()
            try:
                await work()
            except Exception as wrong:
                log.warning("%s broke off: %s: %s", name, type(wrong).__name__, wrong, exc_info=_unexpected(wrong))
            pause_s = _PAUSE_S if loop.time() - began_s > _LONG_S else min(pause_s * 2, _PAUSE_CAP_S)
            await asyncio.sleep(pause_s)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (wrong := task.exception()):
            log.error("%s died", task.get_name(), exc_info=wrong)


def _unexpected(wrong: Exception) -> bool:
    """Tell a mistake of ours, which needs its traceback, from a dependency that is away."""
    return isinstance(wrong, (AttributeError, TypeError, KeyError, IndexError, AssertionError, NameError))
