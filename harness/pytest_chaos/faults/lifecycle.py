"""Faults of whole nodes: killed, stopped, paused, restarted; at once, or when a request reaches a point.

A broker paused or killed is a broker away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pytest_chaos.faults import bounded, catalogue, is_link, is_node, one_of, when
from pytest_chaos.model.fault import EVERYBODY, Action, NodeAction, Whom, WireRule

Verb = Literal["kill", "stop", "pause", "restart"]
_HOUR_S = 3_600.0


@dataclass(frozen=True, slots=True)
class _OnNode:
    node: str

    def __post_init__(self) -> None:
        is_node(self, self.node)

    @property
    def target(self) -> str:
        """The node."""
        return self.node

    def _act(self, fault_id: str, verb: Verb, *, restart_after_s: float | None = None) -> tuple[Action, ...]:
        return (
            NodeAction(id=f"{fault_id}.1", fault=fault_id, node=self.node, verb=verb, restart_after_s=restart_after_s),
        )


@catalogue.register("Kill")
@dataclass(frozen=True, slots=True)
class Kill(_OnNode):
    """The node's processes are killed (SIGKILL); it is back after ``restart_after_s`` seconds, else with the lift."""

    restart_after_s: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        _OnNode.__post_init__(self)
        bounded(self, "restart_after_s", self.restart_after_s, 0, _HOUR_S, unit="s")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one lifecycle action."""
        return self._act(fault_id, "kill", restart_after_s=self.restart_after_s)


@catalogue.register("Stop")
@dataclass(frozen=True, slots=True)
class Stop(_OnNode):
    """The node is asked to end (SIGTERM); it is back after ``restart_after_s`` seconds, else with the lift."""

    restart_after_s: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        _OnNode.__post_init__(self)
        bounded(self, "restart_after_s", self.restart_after_s, 0, _HOUR_S, unit="s")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one lifecycle action."""
        return self._act(fault_id, "stop", restart_after_s=self.restart_after_s)


@catalogue.register("Pause")
@dataclass(frozen=True, slots=True)
class Pause(_OnNode):
    """The node's whole process group stands still (SIGSTOP) until the fault is lifted; its connections stay open."""

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one lifecycle action."""
        return self._act(fault_id, "pause")


@catalogue.register("Restart")
@dataclass(frozen=True, slots=True)
class Restart(_OnNode):
    """The node is ended (SIGTERM) and started again at once, on the same ports and data."""

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one lifecycle action."""
        return self._act(fault_id, "restart")


@catalogue.register("KillAt")
@dataclass(frozen=True, slots=True)
class KillAt:
    """The node is killed (or ``verb``) when a request on ``link`` reaches a point; that request waits for it.

    ``phase="before_send"``: nothing of it was forwarded; ``"after_answer"``: the callee has done the work, its answer
    is held. ``operation``, ``headers``, ``nth`` and ``whom`` choose the request, counted from 1. The node comes back
    ``restart_after_s`` seconds later, else when the fault is lifted. Raises FaultError on a value out of range.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"phase": "before_send"})

    node: str
    link: str
    operation: str = field(default="", kw_only=True)
    phase: Literal["before_send", "after_answer"] = field(default="after_answer", kw_only=True)
    nth: int | tuple[int, ...] = field(default=1, kw_only=True)
    headers: dict[str, str] = field(default_factory=dict, kw_only=True)
    whom: Whom = field(default=EVERYBODY, kw_only=True)
    verb: Verb = field(default="kill", kw_only=True)
    restart_after_s: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        is_node(self, self.node)
        is_link(self, self.link)
        one_of(self, "phase", self.phase, ("before_send", "after_answer"))
        one_of(self, "verb", self.verb, ("kill", "stop", "pause", "restart"))
        bounded(self, "restart_after_s", self.restart_after_s, 0, _HOUR_S, unit="s")
        when(self, self.nth, None, None)

    @property
    def target(self) -> str:
        """The node."""
        return self.node

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to a point on the link and the lifecycle action that it sets off."""
        rule, action = f"{fault_id}.1", f"{fault_id}.2"
        return (
            WireRule(
                id=rule,
                fault=fault_id,
                link=self.link,
                kind="point",
                operation=self.operation,
                headers={name.lower(): value for name, value in self.headers.items()},
                when=when(self, self.nth, None, None),
                whom=self.whom,
                params={"phase": self.phase, "node_action": action},
            ),
            NodeAction(
                id=action,
                fault=fault_id,
                node=self.node,
                verb=self.verb,
                at_point=rule,
                restart_after_s=self.restart_after_s,
            ),
        )
