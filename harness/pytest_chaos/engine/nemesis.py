"""Plays a Schedule: compiles faults, has the keeper install them whole, and records what they did."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_chaos.engine.clock import now_ns
from pytest_chaos.errors import FaultError
from pytest_chaos.model.fault import ByteFault, Fault, Installed, NodeAction, Schedule, WireRule
from pytest_chaos.model.history import FaultRecord
from pytest_chaos.model.topology import Topology

if TYPE_CHECKING:
    from pytest_chaos.engine.aim import Aim
    from pytest_chaos.keeper.client import KeeperClient


class Nemesis:
    """The faults of one test, from installation to proved undo.

    ``aim`` keeps them to the test's own requests. ``recorded``: a replay, in which the schedules that an old journal
    holds of this test are installed in place of what the test asks for, one after the other.
    """

    def __init__(
        self,
        keeper: KeeperClient,
        topology: Topology,
        owner: str,
        *,
        aim: Aim | None = None,
        recorded: Sequence[Schedule] | None = None,
    ) -> None:
        self._keeper = keeper
        self._topology = topology
        self._owner = owner
        self._aim = aim
        self._recorded = recorded
        self._numbers = itertools.count(1)
        self._installations = itertools.count(1)
        self._records: dict[str, FaultRecord] = {}
        self.schedules: list[Schedule] = []

    def install(self, faults: Sequence[Fault]) -> Schedule:
        """Install faults, all or none; raise FaultError or TopologyError naming what is wrong with which."""
        installed = tuple(self._compile(fault) for fault in faults)
        if self._recorded is not None:
            installed = self._as_recorded(installed)
        schedule = Schedule(id=f"{self._owner}#{next(self._installations)}", owner=self._owner, faults=installed)
        for fault in installed:
            self._records[fault.id] = FaultRecord(
                id=fault.id, kind=fault.kind, target=fault.target, params=fault.params, installed_ns=now_ns()
            )
        try:
            self._keeper.install(schedule)
        except BaseException:
            for fault in installed:
                del self._records[fault.id]
            raise
        self.schedules.append(schedule)
        return schedule

    def uninstall(self, schedule: Schedule) -> None:
        """Lift a schedule; its undo is proved by the keeper, and its hits are kept."""
        for record in self._keeper.uninstall(schedule.id):
            self._records[record.id] = self._merge(record)

    def records(self) -> tuple[FaultRecord, ...]:
        """Every fault of the test so far, with its hits up to now."""
        for record in self._keeper.faults(self._owner):
            if record.id in self._records and self._records[record.id].lifted_ns is None:
                self._records[record.id] = self._merge(record)
        return tuple(self._records.values())

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
        return dataclasses.replace(told, kind=known.kind, target=known.target, params=known.params)

    def _compile(self, fault: Fault) -> Installed:
        fault_id = f"f{next(self._numbers)}"
        self._check_target(fault)
        actions = fault.actions(fault_id)
        installed = Installed(
            id=fault_id,
            kind=type(fault).__name__,
            target=fault.target,
            params=_params(fault),
            rules=tuple(action for action in actions if isinstance(action, WireRule)),
            toxics=tuple(action for action in actions if isinstance(action, ByteFault)),
            nodes=tuple(action for action in actions if isinstance(action, NodeAction)),
        )
        return installed if self._aim is None else self._aim.own(installed)

    def _check_target(self, fault: Fault) -> None:
        if not hasattr(fault, "actions"):
            msg = f"{fault!r} is not a fault: give chaos.fault(...) values of pytest_chaos.faults"
            raise FaultError(msg)
        for action in fault.actions("f0"):
            if isinstance(action, NodeAction):
                self._topology.node(action.node)
            else:
                self._topology.link(action.link)


def _params(fault: Fault) -> dict[str, str]:
    """Give a fault's own fields as text, without those that hold their default."""
    shown: dict[str, str] = {}
    plain: Any = fault
    for field in dataclasses.fields(plain) if dataclasses.is_dataclass(plain) else ():
        value = getattr(plain, field.name)
        if value != fault.target and value not in (field.default, None, "", (), {}):
            shown[field.name] = str(value)
    return shown
