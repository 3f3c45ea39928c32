"""Faults that a broker itself plays: done, counted and taken back by the broker's own package, in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from pytest_chaos.brokers.base import Disturbance, Toll
from pytest_chaos.errors import ChaosError
from pytest_chaos.injectors.base import Engine, Seen
from pytest_chaos.model.fault import BrokerAction

T = TypeVar("T")
_APPLY_S = 30.0


class Brokers(Protocol):
    """What this injector needs of the stack. Every method raises StackError when it cannot be done."""

    def disturbance(self, action: BrokerAction) -> Disturbance:
        """Make what carries an action out; raise FaultError where this kind of broker cannot."""

    async def recover(self, node: str) -> str:
        """Resume or start a node until it is ready; give the proof."""

    async def rebuild(self, node: str) -> str:
        """Kill a node and start it anew; give the proof."""

    def recovery_s(self, node: str) -> float:
        """How long a start of this node may take, in seconds."""


class BrokerStep:
    """One action of one broker."""

    engine: Engine = "broker"

    def __init__(self, brokers: Brokers, action: BrokerAction) -> None:
        self._brokers = brokers
        self._act = action
        self._disturbance = brokers.disturbance(action)
        # One thread: what was asked of the broker before is done, or has given up, before anything else is asked.
        self._thread = ThreadPoolExecutor(1, f"disturb-{action.broker}")
        self._toll = Toll()
        self._proof = ""

    @property
    def faults(self) -> tuple[str, ...]:
        """The one fault."""
        return (self._act.fault,)

    @property
    def action(self) -> str:
        """The verb, the broker and what of it."""
        about = [str(self._act.params[name]) for name in ("channel", "exchange", "group") if self._act.params.get(name)]
        return " ".join([self._act.verb, self._act.broker, *about])

    @property
    def links(self) -> tuple[str, ...]:
        """None: what the broker itself says is the proof."""
        return ()

    @property
    def undo_timeout_s(self) -> float:
        """As for a node, since a broker may have to come back first; and what was begun has to end before it."""
        return _APPLY_S + self._brokers.recovery_s(self._act.broker)

    async def apply(self) -> None:
        """Do it; raise FaultError when the broker cannot do it as asked."""
        await self._off(self._disturbance.apply)

    async def undo(self) -> str:
        """Take it back, with the numbers read before and after; the proof is what the broker says."""
        if not self._proof:
            await self._count()
            proof = await self._off(self._disturbance.undo)
            await self._count()
            await self._off(self._disturbance.close)
            self._thread.shutdown(wait=False)
            self._proof = proof
        return self._proof

    async def escalate(self) -> str:
        """Have the broker running, by a new start if need be, and take it back then."""
        await self._brokers.recover(self._act.broker)
        try:
            return await self._again()
        except ChaosError:
            await self._brokers.rebuild(self._act.broker)
            return await self._again()

    async def seen(self) -> dict[str, Seen]:
        """Say how often it hit."""
        if not self._proof:
            await self._count()
        toll = self._toll
        return {self._act.fault: Seen(hits=toll.hits, first_ns=toll.first_ns, last_ns=toll.last_ns, proof=toll.proof)}

    async def _again(self) -> str:
        await self._off(self._disturbance.close)
        return await self.undo()

    async def _count(self) -> None:
        """Read the numbers; a broker that does not answer leaves those that were read last."""
        try:
            toll = await self._off(self._disturbance.toll)
        except ChaosError:
            return
        if toll.hits >= self._toll.hits:
            self._toll = toll

    async def _off(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
