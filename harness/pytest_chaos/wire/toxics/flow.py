"""One direction of a connection under byte faults: a chain of toxics, a timer, and back-pressure to the sender."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_chaos.wire.table import Active
from pytest_chaos.wire.toxics.chain import Chain, Item, Stage, What
from pytest_chaos.wire.toxics.stages import STAGES
from pytest_chaos.wire.world import World

if TYPE_CHECKING:
    from pytest_chaos.wire.connection import Connection
    from pytest_chaos.wire.ends import End

_MS_NS = 1_000_000
HALF_OPEN = "bytes.half_open"
_ENDING = {
    "reset": ("bytes.reset_peer", HALF_OPEN),
    "close": ("bytes.timeout", "bytes.limit_data", "bytes.close_after"),
}


class Flow:
    """Takes what a sender does and hands it on when the toxics let it.

    ``give(what, data)`` hands on; ``wait(full)`` makes the sender wait or go on; ``finish(what, fault)`` ends the
    connection: ``close`` or ``reset``.
    """

    def __init__(
        self,
        world: World,
        *,
        give: Callable[[What, bytes], None],
        wait: Callable[[bool], None],
        finish: Callable[[What, str], None],
    ) -> None:
        self._world = world
        self._give, self._wait, self._finish = give, wait, finish
        self._chain = Chain()
        self._stages: dict[Active, Stage] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._full = False

    @property
    def empty(self) -> bool:
        """Whether no fault is in force here any more."""
        return not self._stages

    def push(self, what: What, data: bytes = b"") -> None:
        """Take what the sender does."""
        self._out(self._chain.push(self._world.now(), what, data))

    def change(self, actives: list[Active]) -> None:
        """Have just these faults in force; what a lifted one held goes on."""
        now = self._world.now()
        self._stages = {active: self._stages.get(active) or self._stage(active, now) for active in actives}
        self._out(self._chain.replace(list(self._stages.values()), now))

    def drop(self) -> None:
        """Forget everything: the connection is gone."""
        self._chain.over = True
        self._chain.stages = []
        self._stages = {}
        self._cancel()
        self._throttle()

    def _stage(self, active: Active, now: int) -> Stage:
        active.seen += 1
        params = active.rule.params
        draw = self._world.table.draws(active, f"c{active.seen}")
        touched = False

        def touch(at_ns: int, size: int) -> None:
            nonlocal touched
            if touched:
                active.touch(at_ns, size)
            else:
                touched = True
                self._world.hit(active, link=active.rule.link, attempt="")
                active.touch(at_ns, size)

        return STAGES[active.rule.kind.removeprefix("bytes.")](params, began_ns=now, draw=draw, touch=touch)

    def _out(self, items: list[Item]) -> None:
        for _, what, data in items:
            if what in ("close", "reset"):
                faults = self._faults(what)
                self.drop()
                self._finish(what, faults)
                return
            self._give(what, data)
        self._throttle()
        self._schedule()

    def _faults(self, what: What) -> str:
        return next((active.rule.fault for active in self._stages if active.rule.kind in _ENDING[what]), "")

    def _throttle(self) -> None:
        full = self._chain.full
        if full != self._full:
            self._full = full
            self._wait(full)

    def _schedule(self) -> None:
        self._cancel()
        due = self._chain.due_ns()
        if due is not None:
            # Loops count in whole milliseconds, and nothing may come early.
            wait_ms = max(0, -(-(due - self._world.now()) // _MS_NS))
            self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._advance)

    def _advance(self) -> None:
        self._timer = None
        self._out(self._chain.advance(self._world.now()))

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def shape(connection: Connection, *, new: bool = False) -> None:
    """Have just the byte faults act that are in force on the link: on the callee's end, for a stub the caller's."""
    actives = [one for one in connection.world.table.active(connection.link.name) if one.phase == "bytes"]
    _vanish(connection, actives, new=new)
    actives = [one for one in actives if one.rule.kind != HALF_OPEN or one in connection.half_open]
    near = connection.callee or connection.caller
    up, down = _in_force(actives, "upstream"), _in_force(actives, "downstream")
    inward, outward = (up, down) if connection.callee is None else (down, up)
    if inward or near.inward is not None:
        near.inward = _flow(connection, near.inward, inward, give=near.received, held=near)
    if outward or near.outward is not None:
        near.outward = _flow(connection, near.outward, outward, give=near.send, held=near.peer or near)


def _vanish(connection: Connection, actives: list[Active], *, new: bool) -> None:
    """Take the ends away that half-open faults say are gone; such a fault is about connections that were open."""
    for active in actives:
        if active.rule.kind == HALF_OPEN and active not in connection.half_open and active not in connection.spared:
            if new:
                connection.spared.add(active)
                continue
            connection.half_open.add(active)
            gone = connection.callee if _stream(active) == "upstream" else connection.caller
            if gone is not None:
                gone.vanish()


def _flow(
    connection: Connection, flow: Flow | None, actives: list[Active], *, give: Callable[[What, bytes], None], held: End
) -> Flow | None:
    def wait(full: bool) -> None:  # noqa: FBT001 - a callback
        (held.stop if full else held.resume)("toxic")

    flow = flow or Flow(connection.world, give=give, wait=wait, finish=connection.end_by_fault)
    flow.change(actives)
    return None if flow.empty else flow


def _in_force(actives: list[Active], stream: str) -> list[Active]:
    return [one for one in actives if _stream(one) == stream]


def _stream(active: Active) -> str:
    return str(active.rule.params.get("stream", "downstream"))
