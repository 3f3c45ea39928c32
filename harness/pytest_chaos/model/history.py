"""Everything recorded in one test, immutable; the only thing that a checker sees."""

from __future__ import annotations

import dataclasses
import zlib
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
    through ``toxiproxy-python``. ``alters``: it may give the caller another answer than the callee's.
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
    alters: bool = False

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
class Bypass:
    """Somebody reached a node around its links: ``caller`` is a node, or empty for a process outside of the stack.

    Known from connections (``connections`` of them at ``address``, held by ``pid``, seen between ``first_ns`` and
    ``last_ns``), from the ids of ``spans`` that no request on a link explains, or since a Kafka told the caller so in
    ``told`` answers: that ``address`` is where it goes.
    """

    caller: str
    callee: str
    address: str = ""
    pid: int = 0
    program: str = ""
    connections: int = 0
    first_ns: int = 0
    last_ns: int = 0
    spans: tuple[str, ...] = ()
    told: int = 0

    def __str__(self) -> str:
        """Say it in one sentence."""
        who = self.caller or "a process outside of the stack"
        if self.spans:
            return (
                f"{who} reached {self.callee} around its link: {len(self.spans)} server spans of {self.callee} "
                f"(such as {self.spans[0]}) answer requests that were on no link"
            )
        if self.told:
            answers = f"{self.told} answer{'s' if self.told != 1 else ''}"
            return (
                f"{self.callee} told {who} in {answers} to reach it at {self.address}, which is not their link: what "
                "goes there is seen by nobody, and no fault can hit it; `advertise` on the node has it name the link"
            )
        number = f"{self.connections} connection{'s' if self.connections != 1 else ''}"
        return (
            f"{who} reached {self.callee} at {self.address} directly ({number}, pid {self.pid} {self.program}), "
            "not through its link"
        ).replace(" )", ")")

    def concerns(self, link: str) -> bool:
        """Whether a link did not see what it should have seen."""
        caller, _, callee = link.partition(" -> ")
        return caller == self.caller and callee.partition(".")[0] == self.callee


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Things that were recorded; ``more`` counts those that were left out for their number."""

    attempts: tuple[Attempt, ...] = ()
    messages: tuple[Message, ...] = ()
    effects: tuple[Effect, ...] = ()
    spans: tuple[Span, ...] = ()
    more: int = 0

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.attempts or self.messages or self.effects or self.spans or self.more)

    def __str__(self) -> str:
        """Say what there is and give an example of each kind, in one sentence's part."""
        said = []
        if self.attempts:
            one = self.attempts[0]
            said.append(f"{len(self.attempts)} requests (such as {one.id} {one.operation} on {one.link})")
        if self.messages:
            said.append(f"{len(self.messages)} things about messages (such as {self.messages[0].id})")
        if self.effects:
            row = self.effects[0]
            said.append(f"{len(self.effects)} effects (such as {row.node} {row.ledger} {row.key})".replace(" )", ")"))
        if self.spans:
            said.append(f"{len(self.spans)} spans (such as {self.spans[0].service} {self.spans[0].name!r})")
        return ", ".join([*said, *([f"{self.more} more"] if self.more else [])])


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One test, in; verdicts, out. All sequences are in time order; all times monotonic ns of this host.

    ``tolerance_ns`` is the calibrated observation skew, ``lag_ns`` the harness's own worst event-loop lag in the
    window: timing rules widen by both. ``quiescent`` is False when the system had not come to rest; ``unrest`` then
    says what was open. ``spans_complete`` False: ``spans_missing`` says which evidence never came. ``isolation``
    ``shared``: other tests used the stack too, so this holds the test's own alone, and ``unattributed`` what may be.
    ``around``: who reached whom around the links; nothing there was seen, and no fault could act on it.
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
    isolation: Literal["exclusive", "shared"] = "exclusive"
    unattributed: Evidence = field(default_factory=Evidence)
    around: tuple[Bypass, ...] = ()

    def if_caused_by(self, op: Op) -> History:
        """Give the History as it is if everything unattributed is the test's own, and this call of it caused it."""
        more = self.unattributed
        attempts = (
            dataclasses.replace(one, request_headers={**one.request_headers, "traceparent": _context(op, one.id)})
            for one in more.attempts
        )
        messages = (dataclasses.replace(one, traceparent=_context(op, one.id)) for one in more.messages)
        return dataclasses.replace(
            self,
            attempts=tuple(sorted((*self.attempts, *attempts), key=lambda one: (one.started_ns, one.id))),
            messages=tuple(sorted((*self.messages, *messages), key=lambda one: one.at_ns)),
            effects=tuple(sorted((*self.effects, *more.effects), key=lambda one: one.at_ns)),
            spans=(*self.spans, *more.spans),
            unattributed=Evidence(),
        )

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


def _context(op: Op, about: str) -> str:
    """Make the traceparent of something that a call is taken to have caused."""
    return f"00-{op.trace_id}-{zlib.crc32(about.encode()):016x}-01"
