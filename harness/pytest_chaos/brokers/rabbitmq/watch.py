"""Looking at a node again and again: for a moment to act in, or until something is true."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pytest_chaos.errors import ChaosError

_LOOK_S = 0.02


class Watch:
    """Calls ``look`` again and again in a thread of its own, until it says true or is stopped.

    Restarts of the broker are waited out.
    """

    def __init__(self, look: Callable[[], bool], name: str) -> None:
        self._look = look
        self._name = name
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, after the look that is under way; safe to call twice."""
        thread, self._thread = self._thread, None
        self._stopped.set()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_LOOK_S):
            try:
                if self._look():
                    return
            except ChaosError:
                continue


def within(limit_s: float, condition: Callable[[], object]) -> bool:
    """Say whether a condition comes true within so many seconds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_S)
    return True
