"""A node's wall clock, stepped through a file that the node's processes read at each look at the clock."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pytest_chaos.errors import FaultError
from pytest_chaos.injectors.base import RULE_UNDO_S, Engine, Seen
from pytest_chaos.model.fault import NodeAction

_IN_ACCESS = 0x1
_IN_ONESHOT = 0x80000000
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_EVENT = "iIII"
"""What inotify tells of a file that is watched by itself: watch, mask, cookie, length of a name (none)."""
_EVENT_BYTES = 64 * struct.calcsize(_EVENT)
_DECIMALS = 6
OnRead = Callable[[int], None]


class Clock:
    """One node's clock: a file of the offset from the true time, which is the sum of the steps in force."""

    def __init__(self, offset: Path) -> None:
        self.offset = offset
        self._steps: dict[object, float] = {}
        self._unread: dict[object, OnRead] = {}
        self._stop: Callable[[], None] = _nothing

    @property
    def ahead_s(self) -> float:
        """How far the node's clock is ahead of the true one, in seconds."""
        return sum(self._steps.values())

    def step(self, who: object, by_s: float, on_read: OnRead) -> None:
        """Step it; ``on_read`` is given the time (monotonic ns) at which a process first reads a clock stepped so.

        Raises FaultError where reads cannot be seen (no inotify); then nothing is stepped.
        """
        self._steps[who], self._unread[who] = by_s, on_read
        try:
            self.write()
        except FaultError:
            del self._steps[who], self._unread[who]
            raise

    def back(self, who: object) -> str:
        """Take a step back, also twice; give the proof, what processes read from now on."""
        self._steps.pop(who, None)
        self._unread.pop(who, None)
        return f"the clock's file says {self.write()} s, and is read at each look at the clock"

    def write(self) -> str:
        """Put the offset into the file, in one step; give what it says."""
        draft = self.offset.with_name(f".{self.offset.name}")
        draft.write_text(f"{self.ahead_s:+.{_DECIMALS}f}\n")
        says = draft.read_text().strip()
        self._stop()
        # The watch is on what is new: whoever reads that has the new time.
        self._stop = _watch(draft, self._read) if self._unread else _nothing
        draft.replace(self.offset)
        return says

    def _read(self, at_ns: int) -> None:
        waiting, self._unread = self._unread, {}
        for on_read in waiting.values():
            on_read(at_ns)


class Clocks(Protocol):
    """What this injector needs of the stack. Every method raises ChaosError when it cannot be done."""

    def clock(self, node: str) -> Clock:
        """Give the clock of a node whose processes can be stepped now; raise FaultError saying why they cannot."""

    async def rebuild(self, node: str) -> str:
        """Kill a node and start it anew; give the proof."""


class SteppedClock:
    """Steps a node's clock, and steps it back."""

    engine: Engine = "runtime"
    undo_timeout_s = RULE_UNDO_S
    point = ""
    early = False

    def __init__(self, nodes: Clocks, action: NodeAction) -> None:
        self._nodes = nodes
        self._act = action
        self._by_s = float(action.params["by_s"])
        self._clock: Clock | None = None
        self._stepped_ns = 0
        self._read_ns: int | None = None
        self._ahead_s = 0.0

    @property
    def faults(self) -> tuple[str, ...]:
        """The one fault."""
        return (self._act.fault,)

    @property
    def action(self) -> str:
        """The step and the node."""
        return f"step the clock of {self._act.node} by {self._by_s:+g} s"

    @property
    def links(self) -> tuple[str, ...]:
        """None: no request goes another way."""
        return ()

    async def apply(self) -> None:
        """Step it; raise FaultError when this node's clock cannot be stepped."""
        self._clock = self._nodes.clock(self._act.node)
        self._stepped_ns = time.monotonic_ns()
        self._clock.step(self, self._by_s, self._read)

    async def undo(self) -> str:
        """Step it back; the proof is what the processes will read."""
        return "no clock was stepped" if self._clock is None else self._clock.back(self)

    async def escalate(self) -> str:
        """Start the node anew with the true time."""
        if self._clock is not None:
            self._clock.back(self)
        return await self._nodes.rebuild(self._act.node)

    async def seen(self) -> dict[str, Seen]:
        """Say whether a process of the node has read the new time."""
        if self._read_ns is None:
            return {self._act.fault: Seen()}
        proof = (
            f"a process of {self._act.node} read its clock, {self._ahead_s:+g} s off, "
            f"{(self._read_ns - self._stepped_ns) / 1e6:.0f} ms after the step"
        )
        return {self._act.fault: Seen(hits=1, first_ns=self._read_ns, last_ns=self._read_ns, proof=proof)}

    def _read(self, at_ns: int) -> None:
        self._read_ns = at_ns
        self._ahead_s = self._clock.ahead_s if self._clock is not None else 0.0


def _nothing() -> None:
    """Nobody waits."""


def _watch(path: Path, on_read: OnRead) -> Callable[[], None]:
    """Tell once when somebody reads a file, whatever it is called by then; give what stops that."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = int(libc.inotify_init1(_FLAGS)) if hasattr(libc, "inotify_init1") else -1
    if handle < 0 or libc.inotify_add_watch(handle, os.fsencode(path), _IN_ACCESS | _IN_ONESHOT) < 0:
        with contextlib.suppress(OSError):
            os.close(handle)
        msg = f"ClockStep: whether a clock is read cannot be seen here (inotify: {os.strerror(ctypes.get_errno())})"
        raise FaultError(msg)
    loop = asyncio.get_running_loop()
    watched = True

    def stop() -> None:
        nonlocal watched
        if watched:
            watched = False
            loop.remove_reader(handle)
            os.close(handle)

    def told() -> None:
        masks = [mask for _, mask, _, _ in struct.iter_unpack(_EVENT, os.read(handle, _EVENT_BYTES))]
        stop()
        if any(mask & _IN_ACCESS for mask in masks):  # else the file is gone
            on_read(time.monotonic_ns())

    loop.add_reader(handle, told)
    return stop
