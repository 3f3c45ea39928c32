"""Everything since a test began, as one immutable History."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_chaos.automata.attribution import split
from pytest_chaos.engine import spool
from pytest_chaos.engine.clock import now_ns
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.codec import from_json
from pytest_chaos.model.history import Evidence, FaultRecord, History, NodeInfo
from pytest_chaos.model.journal import Decision
from pytest_chaos.model.message import Effect, Message
from pytest_chaos.model.op import Op
from pytest_chaos.model.span import Span
from pytest_chaos.model.topology import DRIVER, Backing, Broker, Service, Stub, Topology
from pytest_chaos.telemetry.around import bypasses

if TYPE_CHECKING:
    from pytest_chaos.keeper.client import KeeperClient, Mark


MOST_DECISIONS = 2000
"""Decisions of one test that its record keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Where a test's evidence begins, in each spool."""

    began_ns: int
    attempts_offset: int
    spans_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What other recorders bring to a History.

    ``own``: the test's 12 hex digits where others share the stack, and ``before`` then the state rows at its beginning.
    """

    ops: tuple[Op, ...] = ()
    faults: tuple[FaultRecord, ...] = ()
    messages: Sequence[Message] = ()
    state: Sequence[Effect] = ()
    unrest: tuple[str, ...] = ()
    lag_ns: int = 0
    own: str = ""
    before: Sequence[Effect] = ()


SpanReader = Callable[[Path, int, int], Sequence[Span]]
Completeness = Callable[[Sequence[Attempt], Sequence[Span], Sequence[NodeInfo]], tuple[str, ...]]


class Recorder:
    """Reads the spools of one run between two marks."""

    def __init__(
        self,
        keeper: KeeperClient,
        topology: Topology,
        *,
        spans: SpanReader | None = None,
        completeness: Completeness | None = None,
    ) -> None:
        self._keeper = keeper
        self._topology = topology
        self._read_spans = spans
        self._completeness = completeness

    def begin(self) -> Window:
        """Mark where a test begins."""
        mark = self._keeper.mark()
        return Window(began_ns=now_ns(), attempts_offset=mark.offset, spans_offset=mark.spans_offset)

    def open_attempts(self) -> list[Attempt]:
        """List the requests that are open right now."""
        return self._keeper.mark().open

    def decisions(self, test: str, window: Window) -> tuple[tuple[Decision, ...], int]:
        """Give what wire decided under a test's rules since ``window``, in an order that repeats; count the rest."""
        rows = spool.decisions(self._keeper.attempts_spool, window.attempts_offset, self._keeper.mark().offset)
        mine = [from_json(Decision, row) for row in rows if _of(row, test)]
        mine.sort(key=lambda one: (one.fault, one.rule, one.op, one.n))
        return tuple(mine[:MOST_DECISIONS]), max(0, len(mine) - MOST_DECISIONS)

    def history(self, test: str, window: Window, gathered: Gathered) -> History:
        """Build the History of everything since ``window``."""
        asked_ns = now_ns()
        mark: Mark = self._keeper.mark()
        read = spool.read(self._keeper.attempts_spool, window.attempts_offset, mark.offset)
        nodes = node_infos(self._topology)
        spans: Sequence[Span] = ()
        if self._read_spans is not None and mark.spans_offset > window.spans_offset:
            spans = self._read_spans(self._keeper.spans_spool, window.spans_offset, mark.spans_offset)
        seen = Evidence(
            attempts=tuple(sorted((*read.attempts, *mark.open), key=lambda one: (one.started_ns, one.id))),
            messages=tuple(sorted(gathered.messages, key=lambda one: one.at_ns)),
            effects=(*sorted(read.effects, key=lambda one: one.at_ns), *gathered.state),
            spans=tuple(spans),
        )
        unattributed = Evidence()
        if gathered.own:
            seen, unattributed = split(gathered.own, gathered.ops, seen, before=gathered.before)
        attempts = tuple(one for one in seen.attempts if one.started_ns >= window.began_ns)
        incomplete = (
            self._completeness(attempts, seen.spans, nodes)
            if self._completeness is not None
            else ("no OTLP receiver ran",)
        )
        hits = [hit for hit in read.hits if _of(hit, test)]
        return History(
            test=test,
            started_ns=window.began_ns,
            ended_ns=now_ns(),
            ops=gathered.ops,
            attempts=attempts,
            messages=seen.messages,
            effects=tuple(one for one in seen.effects if one.source == "state" or one.at_ns >= window.began_ns),
            spans=seen.spans,
            faults=tuple(with_refused_calls(_with_hits(fault, hits), gathered.ops) for fault in gathered.faults),
            node_events=tuple(event for event in self._keeper.node_events() if event.at_ns >= window.began_ns),
            nodes=nodes,
            quiescent=not gathered.unrest,
            unrest=gathered.unrest,
            spans_complete=not incomplete,
            spans_missing=incomplete,
            lag_ns=gathered.lag_ns,
            isolation="shared" if gathered.own else "exclusive",
            unattributed=unattributed,
            around=(
                *self._keeper.around(window.began_ns),
                *bypasses(attempts, [one for one in seen.spans if one.received_ns < asked_ns], nodes, gathered.ops),
            ),
        )


def _of(row: Mapping[str, object], test: str) -> bool:
    """Whether a hit or decision is of a test's own schedules: another test's faults may bear the same names."""
    return str(row.get("schedule", f"{test}#")).rpartition("#")[0] == test


def node_infos(topology: Topology) -> tuple[NodeInfo, ...]:
    """Describe the nodes, the driver among them."""
    infos = [NodeInfo(name=DRIVER, kind="driver")]
    for node in topology.nodes:
        if isinstance(node, Service):
            infos.append(NodeInfo(name=node.name, kind="service", instrumented=node.instrumented))
        elif isinstance(node, Broker):
            infos.append(NodeInfo(name=node.name, kind="broker", broker=node.kind))
        elif isinstance(node, Stub):
            infos.append(NodeInfo(name=node.name, kind="stub"))
        elif isinstance(node, Backing):
            infos.append(NodeInfo(name=node.name, kind="backing"))
    return tuple(infos)


def with_refused_calls(fault: FaultRecord, ops: Sequence[Op]) -> FaultRecord:
    """Count the driver's own calls that a fault which refuses refused on their link, where nobody else counted them.

    A gRPC call says why its channel is down, which may be an older story: only calls that make a connection count.
    """
    if (fault.kind != "Refuse" and fault.params.get("how") != "refuse") or fault.hits:
        return fault
    until = fault.lifted_ns
    times = [
        op.completed_ns
        for op in ops
        if op.link in fault.places
        and op.completed_ns is not None
        and fault.installed_ns <= op.invoked_ns
        and (until is None or op.completed_ns <= until)
        and op.error.startswith("ConnectError:")
        and "refused" in op.error
    ]
    if not times:
        return fault
    return dataclasses.replace(
        fault,
        hits=len(times),
        first_hit_ns=min(times),
        last_hit_ns=max(times),
        proof=f"{len(times)} of the driver's own calls on {fault.target} were refused",
    )


def _with_hits(fault: FaultRecord, hits: Sequence[dict[str, object]]) -> FaultRecord:
    """Count a fault's hits from the spool where that knows of more than the keeper did when it answered."""
    times = [int(str(hit["at_ns"])) for hit in hits if hit.get("fault") == fault.id]
    if len(times) <= fault.hits:
        return fault
    return dataclasses.replace(
        fault,
        hits=len(times),
        first_hit_ns=min(times),
        last_hit_ns=max(times),
        proof=fault.proof or f"wire acted on {len(times)} requests",
    )
