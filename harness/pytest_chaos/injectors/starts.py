"""Faults of a node's start: held for a while, or followed by a death, again and again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Protocol

from pytest_chaos.errors import ChaosError
from pytest_chaos.injectors.base import Engine, Seen
from pytest_chaos.model.fault import NodeAction


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hold:
    """One fault's hold on a node's starts, by ``by_s`` seconds each; ``starts_ns`` are those that it has held."""

    by_s: float
    starts_ns: list[int] = field(default_factory=list)
    lifted: asyncio.Event = field(default_factory=asyncio.Event)


class Starts(Protocol):
    """What this injector needs of the stack. Every method raises StackError when it cannot be done."""

    async def act(self, node: str, verb: str) -> str:
        """Kill a node; say what was seen."""

    async def crash(self, node: str, *, after_s: float, spared: asyncio.Event) -> str:
        """Start a node that is down and kill it ``after_s`` seconds later; say how far it came.

        ``spared`` set in the meantime: it may live, and the answer is empty.
        """

    def hold_starts(self, node: str, by_s: float) -> Hold:
        """Have every start of a node held from now on."""

    async def release_starts(self, node: str, hold: Hold) -> str:
        """Lift a hold, wait until a start that it held has gone on; give the proof. May be called twice."""

    async def recover(self, node: str) -> str:
        """Start a node until it is ready; give the proof (a TCP connect). A healthy node is only proved."""

    async def rebuild(self, node: str) -> str:
        """Kill a node and start it anew; give the proof."""

    def recovery_s(self, node: str) -> float:
        """How long a start of this node may take, in seconds."""


class _OnStarts:
    """What both have in common; ``early``: to be applied before anything that happens to nodes."""

    engine: Engine = "runtime"
    point = ""
    early = False

    def __init__(self, nodes: Starts, action: NodeAction) -> None:
        self._nodes = nodes
        self._act = action

    @property
    def faults(self) -> tuple[str, ...]:
        """The one fault."""
        return (self._act.fault,)

    @property
    def action(self) -> str:
        """The verb and the node."""
        return f"{self._act.verb} {self._act.node}"

    @property
    def undo_timeout_s(self) -> float:
        """Twice the node's measured start, at least 15 s."""
        return self._nodes.recovery_s(self._act.node)

    @property
    def links(self) -> tuple[str, ...]:
        """None: its proof is a connect to the node itself."""
        return ()

    async def escalate(self) -> str:
        """Kill what is there and start the node anew."""
        return await self._nodes.rebuild(self._act.node)

    def _seen(self, hits: list[int], proof: str) -> dict[str, Seen]:
        if not hits:
            return {self._act.fault: Seen(proof=proof)}
        return {self._act.fault: Seen(hits=len(hits), first_ns=hits[0], last_ns=hits[-1], proof=proof)}


class SlowStartStep(_OnStarts):
    """Holds every start of a node while it is in force."""

    early = True

    def __init__(self, nodes: Starts, action: NodeAction) -> None:
        super().__init__(nodes, action)
        self._by_s = float(action.params["by_s"])
        self._hold: Hold | None = None

    async def apply(self) -> None:
        """Have starts held from now on; nothing happens to a node that runs."""
        self._hold = self._nodes.hold_starts(self._act.node, self._by_s)

    async def undo(self) -> str:
        """Hold no more; a start that is under way is waited for."""
        if self._hold is None:
            return f"no start of {self._act.node} was ever to be held"
        return await self._nodes.release_starts(self._act.node, self._hold)

    def let_go(self) -> None:
        """Hold no start any more, at once; the undo proves it."""
        if self._hold is not None:
            self._hold.lifted.set()

    async def seen(self) -> dict[str, Seen]:
        """Count the starts that were held."""
        held = list(self._hold.starts_ns) if self._hold is not None else []
        said = f"SIGSTOP at {len(held)} starts of {self._act.node}, up to {self._by_s:g} s each, its links closed"
        return self._seen(held, said if held else "")


class CrashLoopStep(_OnStarts):
    """Kills a node now and after each of its next starts, then has it running."""

    def __init__(self, nodes: Starts, action: NodeAction) -> None:
        super().__init__(nodes, action)
        self._times = int(action.params["times"])
        self._after_s = float(action.params["after_s"])
        self._pause_s = float(action.params["restart_after_s"])
        self._deaths: list[int] = []
        self._how: list[str] = []
        self._lifted = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    async def apply(self) -> None:
        """Kill it, and go on behind the back of the test."""
        await self._nodes.act(self._act.node, "kill")
        self._deaths.append(time.monotonic_ns())
        self._loop = asyncio.create_task(self._go_on(), name=self.action)

    async def undo(self) -> str:
        """End the loop and have the node running."""
        self._lifted.set()
        if self._loop is not None:
            await self._loop
        return await self._nodes.recover(self._act.node)

    async def seen(self) -> dict[str, Seen]:
        """Count the deaths."""
        died = f"SIGKILL: {self._act.node} died {len(self._deaths)} of {self._times} times"
        return self._seen(list(self._deaths), "; ".join([died, *dict.fromkeys(self._how)]) if self._deaths else "")

    async def _go_on(self) -> None:
        node = self._act.node
        try:
            while not await self._rest() and len(self._deaths) < self._times:
                how = await self._nodes.crash(node, after_s=self._after_s, spared=self._lifted)
                if how:
                    self._deaths.append(time.monotonic_ns())
                    self._how.append(how)
            if not self._lifted.is_set():
                await self._nodes.recover(node)
        except ChaosError as failed:
            self._how.append(f"the loop ended: {failed}")  # the undo starts it, and reports

    async def _rest(self) -> bool:
        """Wait between a death and the next start; whether the fault is lifted."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._lifted.wait(), self._pause_s)
        return self._lifted.is_set()
