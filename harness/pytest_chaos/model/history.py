"""Everything recorded in one test, immutable; the only thing that a checker sees."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.message import Effect, Message
from pytest_chaos.model.op import Op
from pytest_chaos.model.span import Span

OURS = "+"
"""What the names of the harness's own parts begin with: no node's name does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRecord:
    """One fault as it was carried out. Times are monotonic ns; ``hits`` counts what it acted on.

    ``target`` is a link, a node, or in words what it parts (``orders | payments``): ``links`` are then those that it
    acts on. ``params`` are the fault's own fields, as text. ``proof`` says how the hit is known; empty and
    ``hits == 0``: the fault touched nothing and decides nothing. Nobody counts the hits of what a test did by itself
    through ``toxiproxy-python``.
    """

    id: str
    kind: str
    target: str
    params: dict[str, str] = field(default_factory=dict)
    engine: Literal["", "wire", "toxiproxy", "runtime", "broker", "toxiproxy-python"] = ""
    installed_ns: int
    lifted_ns: int | None = None
    hits: int = 0
    first_hit_ns: int | None = None
    last_hit_ns: int | None = None
    proof: str = ""
    links: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """Every link and node that it is about."""
        return (self.target, *self.links)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvent:
    """Something that happened to a node: started, ready, killed, stopped, paused, resumed, exited, wiped (its data).

    The harness's own parts (wire, Toxiproxy) are among them, as ``+wire`` and ``+toxiproxy``, when they die.
    """

    id: str
    node: str
    event: Literal["started", "ready", "killed", "stopped", "paused", "resumed", "exited", "wiped"]
    at_ns: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """What a node is. ``replicas`` > 1 puts several automata behind one link."""

    name: str
    kind: Literal["service", "broker", "backing", "stub", "driver"]
    broker: str = ""
    replicas: int = 1
    instrumented: bool | None = None
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One test, in; verdicts, out. All sequences are in time order; all times monotonic ns of this host.

    ``tolerance_ns`` is the calibrated observation skew, ``lag_ns`` the harness's own worst event-loop lag in the
    window: timing rules widen by both. ``quiescent`` is False when the system had not come to rest; ``unrest`` then
    says what was open. ``spans_complete`` False: ``spans_missing`` says which evidence never came.
    """

    test: str
    started_ns: int
    ended_ns: int
    ops: tuple[Op, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    messages: tuple[Message, ...] = ()
    effects: tuple[Effect, ...] = ()
    spans: tuple[Span, ...] = ()
    faults: tuple[FaultRecord, ...] = ()
    node_events: tuple[NodeEvent, ...] = ()
    nodes: tuple[NodeInfo, ...] = ()
    quiescent: bool = True
    unrest: tuple[str, ...] = ()
    spans_complete: bool = False
    spans_missing: tuple[str, ...] = ()
    tolerance_ns: int = 5_000_000
    lag_ns: int = 0

    def on(self, link: str) -> tuple[Attempt, ...]:
        """All attempts that a link's caller made itself (none that a fault replayed), by their first request byte."""
        return tuple(attempt for attempt in self.attempts if attempt.link == link and not attempt.replayed)

    def opaque(self, link: str) -> str:
        """Say how many connections of a link could not be read, and why, so that only bytes pass; empty: none."""
        reasons = Counter(one.request_headers.get("opaque", "") for one in self.on(link) if one.protocol == "tcp")
        del reasons[""]
        said = ", ".join(f"{count} for {reason!r}" for reason, count in sorted(reasons.items()))
        return f"connections on {link} that wire could not read: {said}" if said else ""

    def broken(self) -> tuple[str, ...]:
        """Say which parts of the harness itself died meanwhile: what was seen then proves nothing about the system."""
        died = (one for one in self.node_events if one.node.startswith(OURS) and one.event == "exited")
        return tuple(f"{(one.at_ns - self.started_ns) / 1e9:.3f} s into the test {one.detail}" for one in died)

    def fault(self, fault_id: str) -> FaultRecord | None:
        """The record of a fault by its id."""
        return next((fault for fault in self.faults if fault.id == fault_id), None)

    def stub_effects(self, node: str) -> tuple[Effect, ...]:
        """What a stub did, in order."""
        return tuple(effect for effect in self.effects if effect.node == node and effect.source == "stub")

    def state(self, node: str, ledger: str = "") -> tuple[Effect, ...]:
        """The rows that a service's state query gave at the end, of one ledger or all."""
        return tuple(
            effect
            for effect in self.effects
            if effect.source == "state" and effect.node == node and ledger in ("", effect.ledger)
        )
