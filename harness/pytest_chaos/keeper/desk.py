"""Schedules in force: each installed whole or not at all, undone in reverse order, with what its faults did."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from pytest_chaos.errors import ChaosError, FaultError
from pytest_chaos.injectors.base import Engine, Seen, Step
from pytest_chaos.injectors.broker import Brokers, BrokerStep
from pytest_chaos.injectors.clock import Clocks, SteppedClock
from pytest_chaos.injectors.lifecycle import LifecycleStep, Nodes
from pytest_chaos.injectors.starts import CrashLoopStep, SlowStartStep, Starts
from pytest_chaos.injectors.wire import WireControl, WireStep
from pytest_chaos.keeper.ledger import Ledger
from pytest_chaos.model.fault import ByteFault, Schedule, WireRule
from pytest_chaos.model.history import FaultRecord
from pytest_chaos.model.journal import UndoRecord

NodeStep = LifecycleStep | SlowStartStep | CrashLoopStep | SteppedClock
_OTHER_STEPS: dict[str, type[SlowStartStep | CrashLoopStep | SteppedClock]] = {
    "slow_start": SlowStartStep,
    "crash_loop": CrashLoopStep,
    "step_clock": SteppedClock,
}
"""What carries actions on nodes out that are no plain verbs."""


class AllOfNodes(Nodes, Starts, Clocks, Protocol):
    """What the desk's injectors need of the stack."""


MakeToxic = Callable[[ByteFault], Step | WireRule]
"""Gives what carries a byte fault out: a step of its own, or a rule of wire's that goes with the others."""


@dataclass(slots=True, kw_only=True, eq=False)
class InForce:
    """One schedule: its steps in the order of installation, and its faults' records."""

    schedule: Schedule
    client: int
    steps: list[Step]
    records: dict[str, FaultRecord]
    lost_ns: dict[str, int] = field(default_factory=dict)
    """When faults ended by themselves, since what carried them out died."""
    lifting: asyncio.Lock = field(default_factory=asyncio.Lock)
    lifted: bool = False


class Desk:
    """Where faults are handed in and lifted."""

    def __init__(
        self, ledger: Ledger, wire: WireControl, nodes: AllOfNodes, toxic: MakeToxic, brokers: Brokers
    ) -> None:
        self._ledger = ledger
        self._wire = wire
        self._nodes = nodes
        self._brokers = brokers
        self._toxic = toxic
        self._schedules: dict[str, InForce] = {}
        self._firing: set[asyncio.Task[None]] = set()
        self.undos: list[tuple[int, UndoRecord]] = []

    async def install(self, schedule: Schedule, client: int, steps: list[Step] | None = None) -> None:
        """Carry every fault of a schedule out, or none; raise FaultError or StackError about the one that cannot be.

        ``steps`` are carried out in place of what the faults' own actions make.
        """
        known = self._schedules.get(schedule.id)
        if known is not None and not known.lifted:
            msg = f"schedule {schedule.id!r} is installed already: uninstall it first"
            raise FaultError(msg)
        steps = self._steps(schedule) if steps is None else steps
        records = {
            fault.id: FaultRecord(
                id=fault.id,
                kind=fault.kind,
                target=fault.target,
                params=fault.params,
                engine=_engine(fault.id, steps),
                installed_ns=time.monotonic_ns(),
                links=fault.links,
            )
            for fault in schedule.faults
        }
        one = self._schedules[schedule.id] = InForce(schedule=schedule, client=client, steps=steps, records=records)
        try:
            for step in steps:
                await self._ledger.apply(schedule.id, schedule.owner, step)
        except BaseException:
            await asyncio.shield(self._lift(one))
            del self._schedules[schedule.id]
            raise

    async def uninstall(self, schedule_id: str) -> tuple[list[FaultRecord], list[UndoRecord]]:
        """Lift a schedule; give its faults' records and how the undo went. Lifting twice gives the records again."""
        one = self._schedules.get(schedule_id)
        if one is None:
            msg = f"no schedule is called {schedule_id!r}; in force: {', '.join(self._schedules) or 'none'}"
            raise FaultError(msg)
        undone = await asyncio.shield(self._lift(one))
        return list(one.records.values()), undone

    async def lift_client(self, client: int | None) -> None:
        """Lift everything that a client has installed (None: everybody), newest first."""
        for one in reversed(list(self._schedules.values())):
            if client in (None, one.client):
                await self._lift(one)

    async def faults(self, owner: str) -> list[FaultRecord]:
        """Give the records of an owner's faults, with their hits up to now."""
        mine = [one for one in self._schedules.values() if one.schedule.owner == owner]
        for one in mine:
            if not one.lifted:
                await self._update(one, None)
        return [record for one in mine for record in one.records.values()]

    def lose(self, engine: Engine) -> list[str]:
        """Note that an engine died with the faults that it carried out; name those that were in force."""
        now = time.monotonic_ns()
        lost: list[str] = []
        for one in self._schedules.values():
            faults = {fault for step in one.steps if step.engine == engine for fault in step.faults}
            for fault in sorted(faults - one.lost_ns.keys()) if not one.lifted else ():
                one.lost_ns[fault] = now
                record = one.records[fault]
                lost.append(f"{fault} {record.kind} on {record.target} ({one.schedule.owner})")
        return lost

    def forget(self, client: int) -> None:
        """Drop the records of a client that is gone."""
        self._schedules = {name: one for name, one in self._schedules.items() if one.client != client}
        self.undos = [(who, undo) for who, undo in self.undos if who != client]

    def on_point(self, event: dict[str, Any]) -> None:
        """A request waits at a point: act on the node, confirm, and let the request go on."""
        task = asyncio.create_task(self._fire(str(event["rule"]), str(event["attempt"])), name="point")
        self._firing.add(task)
        task.add_done_callback(self._firing.discard)

    # ---------------------------------------------------------------------------------------------------------------

    def _steps(self, schedule: Schedule) -> list[Step]:
        """Order the steps: what waits for a point or a start, toxics, all wire rules, nodes now, brokers last."""
        nodes: list[NodeStep] = [
            _OTHER_STEPS.get(action.verb, LifecycleStep)(self._nodes, action)
            for fault in schedule.faults
            for action in fault.nodes
        ]
        made = [self._toxic(toxic) for fault in schedule.faults for toxic in fault.toxics]
        rules = tuple(rule for fault in schedule.faults for rule in fault.rules)
        rules += tuple(one for one in made if isinstance(one, WireRule))
        steps: list[Step] = [step for step in nodes if step.early]
        steps += [one for one in made if not isinstance(one, WireRule)]
        if rules:
            steps.append(WireStep(self._wire, schedule.id, schedule.owner, rules))
        steps += [step for step in nodes if not step.early]
        return steps + [BrokerStep(self._brokers, action) for fault in schedule.faults for action in fault.brokers]

    async def _lift(self, one: InForce) -> list[UndoRecord]:
        async with one.lifting:
            if one.lifted:
                return []
            for step in one.steps:
                if isinstance(step, SlowStartStep):
                    step.let_go()  # the undo of its neighbours may start the node, and is bounded in time
            undone = await self._ledger.undo_all(schedule=one.schedule.id)
            self.undos += [(one.client, undo) for undo in undone]
            await self._update(one, time.monotonic_ns())
            one.lifted = True
            return undone

    async def _update(self, one: InForce, lifted_ns: int | None) -> None:
        seen: dict[str, list[tuple[Engine, Seen]]] = {}
        for step in one.steps:
            try:
                for fault, what in (await step.seen()).items():
                    seen.setdefault(fault, []).append((step.engine, what))
            except ChaosError as silent:
                sys.stderr.write(f"{step.action}: its hits cannot be had: {silent}\n")
        for fault, record in one.records.items():
            ended_ns = one.lost_ns.get(fault) or lifted_ns
            one.records[fault] = _with(record, seen.get(fault, []), ended_ns)

    async def _fire(self, rule: str, attempt: str) -> None:
        for step in self._waiting_for(rule):
            await step.fire()
        try:
            await self._wire.call("release", rule=rule, attempt=attempt)
        except ChaosError as gone:
            # The rule may have been lifted, or the request's caller was what was killed.
            sys.stderr.write(f"point {rule}: {gone}\n")

    def _waiting_for(self, rule: str) -> list[LifecycleStep]:
        return [
            step
            for one in self._schedules.values()
            if not one.lifted
            for step in one.steps
            if isinstance(step, LifecycleStep) and step.point == rule
        ]


def _engine(fault: str, steps: list[Step]) -> Engine:
    """Say which engine decides whether a fault has hit: a node's own lifecycle before the point that leads to it."""
    engines = {step.engine for step in steps if fault in step.faults}
    order: tuple[Engine, ...] = ("broker", "runtime", "toxiproxy")
    return next((engine for engine in order if engine in engines), "wire")


def _with(record: FaultRecord, seen: list[tuple[Engine, Seen]], lifted_ns: int | None) -> FaultRecord:
    own = [what for engine, what in seen if engine == record.engine]
    firsts = [what.first_ns for what in own if what.first_ns is not None]
    lasts = [what.last_ns for what in own if what.last_ns is not None]
    return dataclasses.replace(
        record,
        lifted_ns=lifted_ns,
        hits=sum(what.hits for what in own),
        first_hit_ns=min(firsts, default=None),
        last_hit_ns=max(lasts, default=None),
        proof="; ".join(dict.fromkeys(what.proof for what in own if what.proof)),
    )
