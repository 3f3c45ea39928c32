"""Faults of a node's start: it takes long, or it does not last."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pytest_chaos.faults import Between, catalogue, check_fields
from pytest_chaos.model.fault import Action, NodeAction


@catalogue.register("SlowStart")
@dataclass(frozen=True, slots=True)
class SlowStart:
    """Every start of the node takes ``by_s`` seconds (0.001 to 120) longer; nobody reaches it before.

    Its processes stand still (SIGSTOP) as soon as they have begun, so its port and its links refuse until it is really
    ready. It hits the starts that others cause while it is in force: ``Kill(node, restart_after_s=...)``, ``Restart``,
    ``chaos.restart``, the lift of an earlier fault. Lifting it lets a start that is held go on at once.
    """

    no_row: ClassVar[str] = "it acts on starts that others cause"

    node: str
    by_s: Annotated[float, Between(0.001, 120, "s")]

    def __post_init__(self) -> None:
        """Check the fields."""
        check_fields(self)

    @property
    def target(self) -> str:
        """The node."""
        return self.node

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one action that stands while it is in force."""
        return (
            NodeAction(
                id=f"{fault_id}.1", fault=fault_id, node=self.node, verb="slow_start", params={"by_s": self.by_s}
            ),
        )


@catalogue.register("CrashLoop")
@dataclass(frozen=True, slots=True)
class CrashLoop:
    """The node dies (SIGKILL) now and again ``times`` - 1 times (in all 1 to 100), then it is started and stays up.

    It is started ``restart_after_s`` seconds (0 to 600) after each death and dies ``after_s`` seconds (0 to 600) after
    each start, ready or not. Every death is a hit. Lifting the fault ends the loop and has the node running.
    """

    node: str
    times: Annotated[int, Between(1, 100)] = field(default=3, kw_only=True)
    after_s: Annotated[float, Between(0, 600, "s")] = field(default=0.5, kw_only=True)
    restart_after_s: Annotated[float, Between(0, 600, "s")] = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        check_fields(self)

    @property
    def target(self) -> str:
        """The node."""
        return self.node

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one lifecycle action."""
        params = {"times": self.times, "after_s": self.after_s, "restart_after_s": self.restart_after_s}
        return (NodeAction(id=f"{fault_id}.1", fault=fault_id, node=self.node, verb="crash_loop", params=params),)
