"""Faults of whole nodes: killed, stopped, paused or restarted, now or at a point; undone by a running node."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Protocol

from pytest_chaos.errors import ChaosError
from pytest_chaos.injectors.base import Engine, Seen
from pytest_chaos.model.fault import NodeAction


class Nodes(Protocol):
    """What this injector needs of the stack. Every method raises StackError when it cannot be done."""

    async def act(self, node: str, verb: str) -> str:
        """Do kill, stop, pause or restart; return when it is true, with the links closed before; say what was seen."""

    async def recover(self, node: str) -> str:
        """Resume or start a node until it is ready; give the proof (a TCP connect). A healthy node is only proved."""

    async def rebuild(self, node: str) -> str:
        """Kill a node and start it anew; give the proof."""

    def recovery_s(self, node: str) -> float:
        """How long a start of this node may take, in seconds."""


class LifecycleStep:
    """One lifecycle action. With ``at_point`` it waits for :meth:`fire`; else ``apply`` fires it."""

    engine: Engine = "runtime"

    def __init__(self, nodes: Nodes, action: NodeAction) -> None:
        self._nodes = nodes
        self._act = action
        self._busy = asyncio.Lock()
        self._acting = asyncio.Lock()
        self._lifted = asyncio.Event()
        self._hits: list[int] = []
        self._proof = ""
        self._comeback: asyncio.Task[str] | None = None

    @property
    def faults(self) -> tuple[str, ...]:
        """The one fault."""
        return (self._act.fault,)

    @property
    def action(self) -> str:
        """The verb and the node."""
        return f"{self._act.verb} {self._act.node}" + (" at a point" if self._act.at_point else "")

    @property
    def links(self) -> tuple[str, ...]:
        """None: its proof is a connect to the node itself."""
        return ()

    @property
    def undo_timeout_s(self) -> float:
        """Twice the node's measured start, at least 15 s."""
        return self._nodes.recovery_s(self._act.node)

    @property
    def point(self) -> str:
        """The id of the wire rule that sets this off, or the empty string."""
        return self._act.at_point

    @property
    def early(self) -> bool:
        """Whether it is to be in force before anything happens: it waits for a point."""
        return bool(self._act.at_point)

    async def apply(self) -> None:
        """Act now, unless a point is waited for."""
        if not self._act.at_point:
            await self.fire()

    async def fire(self) -> None:
        """Act, and return when it is true; a lifted step does nothing."""
        async with self._busy:
            if self._lifted.is_set():
                return
            async with self._acting:
                try:
                    await self._do()
                except ChaosError as failed:
                    self._proof = f"failed: {failed}"
                    if self._act.at_point:
                        return  # nobody waits for this but the request at the point; the record says it
                    raise
            if self._act.restart_after_s is not None and self._comeback is None:
                self._comeback = asyncio.create_task(self._come_back(self._act.restart_after_s))

    async def undo(self) -> str:
        """Have the node running again; the proof is a TCP connect to its real port."""
        self._lifted.set()
        if self._comeback is not None:
            await self._comeback  # a start that has begun is waited for, never cut in the middle
        async with self._busy:
            return await self._nodes.recover(self._act.node)

    async def escalate(self) -> str:
        """Kill what is there and start the node anew."""
        return await self._nodes.rebuild(self._act.node)

    async def seen(self) -> dict[str, Seen]:
        """Say whether the node was acted on; an action that has begun is waited for."""
        async with self._acting:
            hits = self._hits
        first, last = (hits[0], hits[-1]) if hits else (None, None)
        return {self._act.fault: Seen(hits=len(hits), first_ns=first, last_ns=last, proof=self._proof)}

    async def _do(self) -> None:
        at_ns = time.monotonic_ns()
        self._proof = await self._nodes.act(self._act.node, self._act.verb)
        self._hits.append(at_ns)

    async def _come_back(self, after_s: float) -> str:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._lifted.wait(), after_s)
            return "lifted before it came back"
        async with self._busy:
            try:
                return await self._nodes.recover(self._act.node)
            except ChaosError as failed:
                return str(failed)  # the undo tries again, and reports
