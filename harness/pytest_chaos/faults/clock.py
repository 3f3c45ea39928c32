"""Faults of time: a node's wall clock is stepped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pytest_chaos.errors import FaultError
from pytest_chaos.faults import Between, catalogue, check_fields
from pytest_chaos.model.fault import Action, NodeAction

_TEN_YEARS_S = 315_360_000


@catalogue.register("ClockStep")
@dataclass(frozen=True, slots=True)
class ClockStep:
    """The wall clock of every process of the node is ``by_s`` seconds ahead (or behind: negative, up to ten years).

    It steps in processes that run, and those that the node starts meanwhile have it too; lifting the fault steps it
    back. Monotonic clocks stay true. The topology must say ``Service(node, clock=True)``: libfaketime is then preloaded
    from its start. It hits when a process reads its clock. Programs that ask the kernel without the C library (static
    ones, Go) cannot be stepped. Several steps on a node add up.
    """

    no_row: ClassVar[str] = "it acts on the clock of a process, which no client sees"

    node: str
    by_s: Annotated[float, Between(-_TEN_YEARS_S, _TEN_YEARS_S, "s")]

    def __post_init__(self) -> None:
        """Check the fields."""
        check_fields(self)
        if not self.by_s:
            msg = f"ClockStep: by_s={self.by_s!r}: must not be 0: that is no step"
            raise FaultError(msg)

    @property
    def target(self) -> str:
        """The node."""
        return self.node

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one action on the node."""
        params = {"by_s": self.by_s}
        return (NodeAction(id=f"{fault_id}.1", fault=fault_id, node=self.node, verb="step_clock", params=params),)
