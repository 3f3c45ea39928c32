"""Collects ended children: the nodes' leading processes, and the orphans that a child subreaper inherits."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import signal
import sys
from collections.abc import Callable

from pytest_chaos.runtimes import procfs
from pytest_chaos.runtimes.base import Exit

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# How long an unknown dead child is left alone: a subprocess.run() in another thread waits for its own.
_STRANGER_GRACE_S = 1.0


@functools.cache
def _prctl() -> Callable[[int, int], int] | None:
    if sys.platform != "linux":
        return None
    call: Callable[[int, int], int] = ctypes.CDLL(None, use_errno=True).prctl
    return call


def become_subreaper() -> None:
    """Inherit the orphans of all descendants, where the kernel can do that (Linux)."""
    prctl = _prctl()
    if prctl is not None:
        prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that made it ends; call it between fork and exec."""
    prctl = _prctl()
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Reaper:
    """Waits for children on SIGCHLD; one a process, in the main thread's event loop."""

    def __init__(self) -> None:
        self._known: dict[int, asyncio.Future[Exit]] = {}
        self._strangers: set[int] = set()
        self._later: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        _prctl()  # load it before the first fork: a child between fork and exec must not import or allocate much

    def attach(self) -> None:
        """Begin to listen for SIGCHLD in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGCHLD, self.reap)

    def detach(self) -> None:
        """Stop listening."""
        if self._loop is not None:
            self._loop.remove_signal_handler(signal.SIGCHLD)
        if self._later is not None:
            self._later.cancel()

    def watch(self, pid: int) -> asyncio.Future[Exit]:
        """Give a future of how a child ends."""
        future: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._known[pid] = future
        return future

    def reap(self) -> None:
        """Collect every child that has ended and that somebody watches; strangers a little later."""
        for pid in list(self._known):
            status = _wait(pid)
            if status is not None:
                future = self._known.pop(pid)
                if not future.done():
                    future.set_result(status)
        if self._loop is not None and self._later is None:
            self._later = self._loop.call_later(_STRANGER_GRACE_S, self._reap_strangers)

    def collect(self, pid: int) -> None:
        """Reap a dead child that nobody watches, now; one that is no child of ours is no error."""
        if pid not in self._known:
            _wait(pid)

    def _reap_strangers(self) -> None:
        self._later = None
        mine = os.getpid()
        dead = {process.pid for process in procfs.scan() if process.zombie and process.ppid == mine} - set(self._known)
        for pid in dead & self._strangers:
            _wait(pid)
        self._strangers = dead - self._strangers
        if self._strangers and self._loop is not None:
            self._later = self._loop.call_later(_STRANGER_GRACE_S, self._reap_strangers)


def _wait(pid: int) -> Exit | None:
    with contextlib.suppress(ChildProcessError):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        return Exit(code=code) if code >= 0 else Exit(signal=-code)
    return Exit()
