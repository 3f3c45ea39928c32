"""Plays a Schedule: compiles faults, has the keeper install them whole, and records what they did."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_chaos.engine.clock import now_ns
from pytest_chaos.engine.front_door import Changes, bound, one_a_process
from pytest_chaos.errors import FaultError, KeeperError, UndoError
from pytest_chaos.model import cutting
from pytest_chaos.model.fault import BrokerAction, ByteFault, Cut, Fault, Installed, NodeAction, Schedule, WireRule
from pytest_chaos.model.history import FaultRecord
from pytest_chaos.model.topology import Broker, Topology
from pytest_chaos.wire.kinds import KINDS

if TYPE_CHECKING:
    from pytest_chaos.engine.aim import Aim
    from pytest_chaos.keeper.client import KeeperClient


class Nemesis:
    """The faults of one test, from installation to proved undo.

    ``aim`` keeps them to the test's own requests. ``recorded``: a replay, in which the schedules that an old journal
    holds of this test are installed in place of what the test asks for, one after the other. ``before_wipe`` is called
    with the name of a broker whose data is about to be taken away.
    """

    def __init__(
        self,
        keeper: KeeperClient,
        topology: Topology,
        owner: str,
        *,
        aim: Aim | None = None,
        recorded: Sequence[Schedule] | None = None,
        before_wipe: Callable[[str], object] = len,
    ) -> None:
        self._keeper = keeper
        self._before_wipe = before_wipe
        self._topology = topology
        self._owner = owner
        self._aim = aim
        self._recorded = recorded
        self._numbers = itertools.count(1)
        self._installations = itertools.count(1)
        self._records: dict[str, FaultRecord] = {}
        self._active: dict[str, Schedule] = {}
        self.changes = Changes()
        """What the test did through toxiproxy-python."""
        self.schedules: list[Schedule] = []

    def install(self, faults: Sequence[Fault]) -> Schedule:
        """Install faults, all or none; raise FaultError or TopologyError naming what is wrong with which."""
        installed = tuple(self._compile(fault) for fault in faults)
        if self._recorded is not None:
            installed = self._as_recorded(installed)
        schedule = Schedule(id=f"{self._owner}#{next(self._installations)}", owner=self._owner, faults=installed)
        for fault in installed:
            self._records[fault.id] = FaultRecord(
                id=fault.id,
                kind=fault.kind,
                target=fault.target,
                params=fault.params,
                installed_ns=now_ns(),
                links=fault.links,
                alters=alters(fault),
            )
        for action in (action for fault in installed for action in fault.nodes if action.verb == "wipe"):
            self._before_wipe(action.node)
        try:
            self._keeper.install(schedule)
        except BaseException:
            for fault in installed:
                del self._records[fault.id]
            raise
        self._active[schedule.id] = schedule
        self.schedules.append(schedule)
        return schedule

    def uninstall(self, schedule: Schedule) -> None:
        """Lift a schedule, if it is not lifted yet; its undo is proved by the keeper, and its hits are kept."""
        if self._active.pop(schedule.id, None) is None:
            return
        try:
            told = self._keeper.uninstall(schedule.id)
        except KeeperError as gone:
            mine = ", ".join(f"{fault.id} {fault.kind} on {fault.target}" for fault in schedule.faults)
            msg = f"{gone}; in force then: {mine}"
            raise KeeperError(msg) from gone
        for record in told:
            self._records[record.id] = self._merge(record)

    def heal(self) -> None:
        """Lift everything of this test that is in force, newest first; what fails hinders nothing, and is raised."""
        failures: list[UndoError] = []
        for schedule in reversed(list(self._active.values())):
            try:
                self.uninstall(schedule)
            except UndoError as failed:
                failures.append(failed)
        if failures:
            raise UndoError("; ".join(map(str, failures)))

    def records(self) -> tuple[FaultRecord, ...]:
        """Every fault of the test so far, with its hits up to now."""
        for record in self._keeper.faults(self._owner):
            if record.id in self._records and self._records[record.id].lifted_ns is None:
                self._records[record.id] = self._merge(record)
        return (*self._records.values(), *self.changes.records())

    @contextmanager
    def toxiproxy(self) -> Iterator[Any]:
        """Give toxiproxy-python's client; the keeper resets the server behind it."""
        with one_a_process():
            schedule, address = self._keeper.open_door(self._owner)
            try:
                with bound(address, self.changes) as client:
                    yield client
            finally:
                self._keeper.uninstall(schedule)

    def _as_recorded(self, installed: tuple[Installed, ...]) -> tuple[Installed, ...]:
        """Give what the journal holds in place of what the test asks for now; raise FaultError where nothing fits."""
        known = self._recorded or ()
        number = len(self.schedules)
        if number >= len(known):
            asked = ", ".join(f"{one.kind} on {one.target}" for one in installed)
            msg = (
                f"the replayed journal holds {len(known)} schedules of this test, which asks for more now ({asked}): "
                "it has changed since; run it without --chaos-replay"
            )
            raise FaultError(msg)
        faults = known[number].faults
        return faults if self._aim is None else tuple(map(self._aim.own, faults))

    def _merge(self, told: FaultRecord) -> FaultRecord:
        known = self._records[told.id]
        mine = {name: getattr(known, name) for name in ("kind", "target", "params", "links", "alters")}
        return dataclasses.replace(told, **mine)

    def _compile(self, fault: Fault) -> Installed:
        fault_id = f"f{next(self._numbers)}"
        self._check_target(fault)
        actions = fault.actions(fault_id)
        across = tuple(rule for action in actions if isinstance(action, Cut) for rule in self._across(action))
        installed = Installed(
            id=fault_id,
            kind=type(fault).__name__,
            target=fault.target,
            params=_params(fault),
            links=tuple(dict.fromkeys(rule.link for rule in across)),
            rules=(*(action for action in actions if isinstance(action, WireRule)), *across),
            toxics=tuple(action for action in actions if isinstance(action, ByteFault)),
            nodes=tuple(action for action in actions if isinstance(action, NodeAction)),
            brokers=tuple(action for action in actions if isinstance(action, BrokerAction)),
        )
        return installed if self._aim is None else self._aim.own(installed)

    def _check_target(self, fault: Fault) -> None:
        if not hasattr(fault, "actions"):
            msg = f"{fault!r} is not a fault: give chaos.fault(...) values of pytest_chaos.faults"
            raise FaultError(msg)
        for action in fault.actions("f0"):
            if isinstance(action, NodeAction):
                self._topology.node(action.node)
            elif isinstance(action, Cut):
                self._across(action)
            elif isinstance(action, BrokerAction):
                self._check_broker(fault, action.broker)
            else:
                self._topology.link(action.link)

    def _across(self, cut: Cut) -> tuple[WireRule, ...]:
        return cutting.rules(cut, [node.name for node in self._topology.nodes], self._topology.links)

    def _check_broker(self, fault: Fault, name: str) -> None:
        if not isinstance(self._topology.node(name), Broker):
            brokers = ", ".join(node.name for node in self._topology.nodes if isinstance(node, Broker)) or "none"
            msg = f"{type(fault).__name__}: broker={name!r}: is no broker; the topology has: {brokers}"
            raise FaultError(msg)


def alters(fault: Installed) -> bool:
    """Whether a fault may give a caller another answer than the callee's, by what it is carried out as."""
    kinds = (*(rule.kind for rule in fault.rules), *(f"bytes.{toxic.toxic}" for toxic in fault.toxics))
    return any(KINDS[kind].alters for kind in kinds)


def _params(fault: Fault) -> dict[str, str]:
    """Give a fault's own fields as text, without those that hold their default or that its target says."""
    shown: dict[str, str] = {}
    plain: Any = fault
    for field in dataclasses.fields(plain) if dataclasses.is_dataclass(plain) else ():
        value = getattr(plain, field.name)
        if field.name != "groups" and value != fault.target and value not in (field.default, None, "", (), {}):
            shown[field.name] = str(value)
    return shown
