"""Faults are values: what is wrong, where, when, for whom. This file holds what every family shares.

A fault compiles to *actions*; an injector carries each action out and keeps its undo. Users write faults; only the
faults room writes actions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pytest_chaos.errors import FaultError


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Which of the matching requests are hit, counted on the link since the fault was installed, from 1.

    ``nth`` exactly these; ``first`` the first n; ``every`` each k-th; all unset: every one. Raises FaultError on a
    number below 1.
    """

    nth: tuple[int, ...] = ()
    first: int | None = None
    every: int | None = None

    def __post_init__(self) -> None:
        """Refuse counts that can never be reached."""
        for name, value in (("nth", min(self.nth, default=None)), ("first", self.first), ("every", self.every)):
            if value is not None and value < 1:
                msg = f"{name}={value}: must be 1 or more (requests are counted from 1)"
                raise FaultError(msg)

    def hits(self, ordinal: int) -> bool:
        """Whether the request with this ordinal (from 1) is hit."""
        if self.nth:
            return ordinal in self.nth
        if self.first is not None:
            return ordinal <= self.first
        return self.every is None or ordinal % self.every == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRule:
    """An action of the request-aware proxy: ``kind`` with ``params`` on requests of ``operation`` on ``link``.

    ``operation`` is ``METHOD /path`` (``*`` matches within a path segment, ``**`` anything), a gRPC
    ``/package.Service/Method``, or empty for everything. ``headers`` must all be equal on the request.
    """

    id: str
    fault: str
    link: str
    kind: str
    operation: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    when: When = field(default_factory=When)
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteFault:
    """A byte-level action: a Toxiproxy toxic by its own name, stream and attributes, or one of wire's own.

    Carried out by the engine that the link has; what Toxiproxy has no word for (``corrupt``, ``close_after``, a
    ``latency`` with a ``distribution``) by wire.
    """

    id: str
    fault: str
    link: str
    toxic: str
    stream: Literal["upstream", "downstream"] = "downstream"
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAction:
    """A lifecycle action: kill (SIGKILL), stop (SIGTERM), pause (SIGSTOP), restart; undo is start or resume."""

    id: str
    fault: str
    node: str
    verb: Literal["kill", "stop", "pause", "restart"]
    at_point: str = ""
    restart_after_s: float | None = None


Action = WireRule | ByteFault | NodeAction


class Fault(Protocol):
    """What every family's dataclass offers."""

    @property
    def target(self) -> str:
        """The link (``orders -> payments``) or node that it is about."""

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to actions whose ids derive from ``fault_id``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One fault of a schedule with the id that it got and what it compiles to."""

    id: str
    kind: str
    target: str
    params: dict[str, str] = field(default_factory=dict)
    rules: tuple[WireRule, ...] = ()
    toxics: tuple[ByteFault, ...] = ()
    nodes: tuple[NodeAction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Faults that are installed whole, in one message, for one owner (a test); ``id`` names the installation."""

    id: str
    owner: str
    faults: tuple[Installed, ...] = ()
