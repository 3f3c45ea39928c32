"""An event loop in a thread of its own: an asynchronous client lives on while nobody calls it, as in a service."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading


class Loop:
    """Runs coroutines for synchronous callers."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        # What a client library loses track of when its connection breaks is part of what is watched here, not news.
        self._loop.set_exception_handler(lambda *_: None)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def closed(self):
        """Whether nothing can run here any more."""
        return self._loop.is_closed()

    def run(self, story, limit_s):
        """Give what a coroutine gives, or raise what it raises; TimeoutError after so many seconds."""
        asked = asyncio.run_coroutine_threadsafe(asyncio.wait_for(story, limit_s), self._loop)
        try:
            return asked.result(limit_s + 5)
        except concurrent.futures.TimeoutError:
            asked.cancel()
            raise TimeoutError from None

    def close(self):
        """Cancel what is left, and end; safe to call twice."""
        if self.closed:
            return

        async def end():
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=1) if left else None

        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(end(), self._loop).result(3)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(3)
        if not self._thread.is_alive():
            self._loop.close()
