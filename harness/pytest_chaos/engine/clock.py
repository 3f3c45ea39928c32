"""The one place where the harness reads time or waits; the canary measures how late this machine wakes us."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pytest_chaos.errors import ChaosError


def now_ns() -> int:
    """Read CLOCK_MONOTONIC, in nanoseconds: the one clock of wire, keeper and driver on one host."""
    return time.monotonic_ns()


def pause(seconds: float) -> None:
    """Let time pass; for polling what cannot be awaited, always under a deadline."""
    time.sleep(seconds)


def wait_until(condition: Callable[[], bool], *, timeout_s: float, what: str, every_s: float = 0.02) -> None:
    """Poll until a condition holds; raise ChaosError naming ``what`` after ``timeout_s``."""
    deadline = now_ns() + int(timeout_s * 1e9)
    while not condition():
        if now_ns() > deadline:
            msg = f"waited {timeout_s:g} s for {what}, in vain"
            raise ChaosError(msg)
        pause(every_s)


class Canary:
    """A thread that sleeps 10 ms at a time and keeps its worst lateness: the lag by which timing rules are widened."""

    _PERIOD_S = 0.01

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._worst_ns = 0
        self._thread = threading.Thread(target=self._run, name="chaos-canary", daemon=True)

    def start(self) -> None:
        """Begin to measure."""
        self._thread.start()

    def reset(self) -> None:
        """Forget what was measured; a new window begins."""
        self._worst_ns = 0

    @property
    def worst_ns(self) -> int:
        """The worst lateness in the window, ns."""
        return self._worst_ns

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join(timeout=1)

    def _run(self) -> None:
        period_ns = int(self._PERIOD_S * 1e9)
        last = now_ns()
        while not self._stop.wait(self._PERIOD_S):
            current = now_ns()
            self._worst_ns = max(self._worst_ns, current - last - period_ns)
            last = current
