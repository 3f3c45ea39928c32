"""Whose turn the stack is: one test alone, or several that share it; first come, first served."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from pytest_chaos.errors import KeeperError

Mode = Literal["exclusive", "shared"]


@dataclass(slots=True, eq=False)
class _Asked:
    lease: int
    owner: str
    mode: Mode
    alone: bool = False
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Turns:
    """Hands the stack out in the order of asking, so that nobody starves.

    An exclusive turn waits for all that went before and holds back all behind it; shared ones that follow each other
    run together. Two holders of one name never do: their requests could not be told apart. A shared turn begins
    ``alone`` where the stack has to be brought to its baseline first, since that may restart nodes.
    """

    def __init__(self) -> None:
        self._clean = False
        self._queue: deque[_Asked] = deque()
        self._holding: dict[int, _Asked] = {}

    async def take(self, lease: int, owner: str, mode: Mode, *, timeout_s: float, alone: bool = False) -> bool:
        """Wait for a turn and say whether it is alone: then a shared one has to :meth:`share` after its baseline.

        ``alone`` asks for that. Raises KeeperError after ``timeout_s`` seconds, or when the lease has a turn already.
        """
        if lease in self._holding:
            msg = f"{owner}: this client holds the stack already, for {self._holding[lease].owner}"
            raise KeeperError(msg)
        asked = _Asked(lease, owner, mode, alone)
        self._queue.append(asked)
        self._grant()
        try:
            await asyncio.wait_for(asked.granted, timeout_s)
        except TimeoutError:
            msg = f"{owner} waited {timeout_s:g} s for the stack, which other tests of this run hold: {self._said()}"
            raise KeeperError(msg) from None
        finally:
            if asked in self._queue:  # given up, or its client is gone
                self._queue.remove(asked)
                self._grant()
            elif asked.granted.cancelled():
                self.give(lease)
        return asked.alone

    def soil(self) -> None:
        """Say that the stack is not as a test should find it: a node ended by itself."""
        self._clean = False

    def share(self, lease: int) -> None:
        """Share a turn that is alone, now that the stack is at its baseline: those that wait to share come in."""
        held = self._holding.get(lease)
        if held is None:
            msg = "this client does not hold the stack: lock it first"
            raise KeeperError(msg)
        held.mode, held.alone, self._clean = "shared", False, True
        self._grant()

    def give(self, lease: int) -> None:
        """Give a lease's turn up; nothing when it has none."""
        if self._holding.pop(lease, None) is not None:
            self._grant()

    def _grant(self) -> None:
        while self._queue and self._fits(self._queue[0]):
            asked = self._queue.popleft()
            asked.alone = asked.alone or asked.mode == "exclusive" or not self._clean
            self._clean = self._clean and not asked.alone
            self._holding[asked.lease] = asked
            with contextlib.suppress(asyncio.InvalidStateError):  # its waiter was cancelled just now, and gives it back
                asked.granted.set_result(None)

    def _fits(self, asked: _Asked) -> bool:
        if asked.mode == "exclusive" or asked.alone or not self._clean:
            return not self._holding
        return all(not held.alone and held.owner != asked.owner for held in self._holding.values())

    def _said(self) -> str:
        return ", ".join(f"{held.owner} ({held.mode})" for held in self._holding.values()) or "nobody any more"
