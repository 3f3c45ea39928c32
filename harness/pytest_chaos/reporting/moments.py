"""Whatever a witness can name (attempt, op, message, effect, ...) as one kind of value with a time and a place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pytest_chaos.model.attempt import Attempt, Outcome
from pytest_chaos.model.history import FaultRecord, History, NodeEvent
from pytest_chaos.model.message import Effect, Message
from pytest_chaos.model.op import Op
from pytest_chaos.model.span import Span

_MAX_PARAM = 80
_MAX_LINKS = 4
MomentKind = Literal["op", "attempt", "effect", "message", "node", "fault", "span", "unknown"]

_GRPC = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One event of a History, in monotonic ns.

    ``at_ns`` None: nobody knows; ``end_ns`` None: it has no length, or never ended.
    ``place`` is the swim-lane that it belongs to: a link, a node, a broker's channel, a ledger.
    """

    id: str
    kind: MomentKind
    place: str
    at_ns: int | None = None
    end_ns: int | None = None
    operation: str = ""
    status: str = ""
    outcome: Outcome | Literal[""] = ""
    key: str = ""
    correlation: str = ""
    trace_id: str = ""
    note: str = ""


def moments(history: History) -> dict[str, Moment]:
    """Every event of a History by its id, in time order within a kind; the first one of an id wins."""
    found: dict[str, Moment] = {}
    for moment in _all(history):
        found.setdefault(moment.id, moment)
    return found


def witness(history: History, ids: tuple[str, ...], known: dict[str, Moment] | None = None) -> tuple[Moment, ...]:
    """The moments that a witness names, in time order; an id that the History does not hold is kept, as ``unknown``."""
    index = moments(history) if known is None else known
    found = [
        index.get(one, Moment(id=one, kind="unknown", place="", note="not in the history"))
        for one in dict.fromkeys(ids)
    ]
    last = history.ended_ns + 1
    return tuple(sorted(found, key=lambda moment: last if moment.at_ns is None else moment.at_ns))


def of_attempt(attempt: Attempt) -> Moment:
    """An attempt, with what the caller was given and, where that differs, what the callee had answered."""
    return Moment(
        id=attempt.id,
        kind="attempt",
        place=attempt.link,
        at_ns=attempt.started_ns,
        end_ns=attempt.ended_ns,
        operation=attempt.operation or attempt.protocol,
        status=_attempt_status(attempt),
        outcome=attempt.outcome,
        key=attempt.idempotency_key or attempt.marker,
        correlation=attempt.correlation_id,
        trace_id=attempt.trace_id,
        note=_note(attempt),
    )


def _note(attempt: Attempt) -> str:
    if not attempt.faults:
        return ""
    how = ", delivered by wire itself" if attempt.replayed else ", kept back by wire" if attempt.deferred else ""
    return f"fault {', '.join(attempt.faults)}{how}"


def of_op(op: Op) -> Moment:
    """An op, as the driver saw it."""
    status = _code(op.status, op.grpc_status, "") or op.error or ("open" if op.completed_ns is None else "")
    return Moment(
        id=op.id,
        kind="op",
        place="driver",
        at_ns=op.invoked_ns,
        end_ns=op.completed_ns,
        operation=op.operation,
        status=status,
        outcome=op.outcome,
        key=op.idempotency_key or op.marker,
        correlation=op.correlation_id,
        trace_id=op.trace_id,
        note=op.link,
    )


def of_effect(effect: Effect) -> Moment:
    """A ledger row: a stub's own work at its time, or a service's word at the time of the reading."""
    amount = "" if effect.amount_minor is None else f"{effect.amount_minor} minor units"
    times = f"{effect.count} times" if effect.count != 1 else ""
    said = "its own word, read at the end" if effect.source == "state" else "done"
    return Moment(
        id=effect.id,
        kind="effect",
        place=f"{effect.node} / {effect.ledger}",
        at_ns=effect.at_ns,
        operation=effect.operation or effect.ledger,
        status=effect.state or said,
        key=effect.key or effect.marker,
        note=", ".join(part for part in (amount, times, said if effect.state else "") if part),
    )


def of_message(message: Message) -> Moment:
    """What happened to a message at its broker."""
    at = f"partition {message.partition} offset {message.offset}" if message.partition is not None else ""
    return Moment(
        id=message.id,
        kind="message",
        place=f"{message.broker} / {message.channel}",
        at_ns=message.at_ns,
        operation=f"{message.event}{f' by {message.group}' if message.group else ''}",
        status=message.event,
        key=message.key or message.marker,
        correlation=message.correlation_id,
        note=at,
    )


def of_node(event: NodeEvent) -> Moment:
    """Something that happened to a node."""
    return Moment(
        id=event.id,
        kind="node",
        place=event.node,
        at_ns=event.at_ns,
        operation=event.event,
        status=event.event,
        note=event.detail,
    )


def of_fault(fault: FaultRecord) -> Moment:
    """A fault, from its installation until it was lifted."""
    return Moment(
        id=fault.id,
        kind="fault",
        place=fault.target,
        at_ns=fault.installed_ns,
        end_ns=fault.lifted_ns,
        operation=fault_label(fault),
        status=f"{fault.hits} hit{'' if fault.hits == 1 else 's'}",
    )


def of_span(span: Span) -> Moment:
    """A span, placed where its arrival was seen: its own times are another clock's."""
    return Moment(
        id=span.span_id,
        kind="span",
        place=span.service,
        at_ns=span.received_ns or None,
        operation=span.name,
        status=span.status,
        trace_id=span.trace_id,
        note="a span, at the time of its arrival",
    )


def fault_label(fault: FaultRecord) -> str:
    """A fault as its author wrote it: ``Status(status=503, first=4)``."""
    params = (
        f"{name}={value if len(value) <= _MAX_PARAM else value[:_MAX_PARAM] + '…'}"
        for name, value in fault.params.items()
    )
    return f"{fault.kind}({', '.join(params)})"


def fault_place(fault: FaultRecord) -> str:
    """Where a fault acts: its link or node, or what it parts with the links across."""
    if not fault.links:
        return fault.target
    more = f" and {len(fault.links) - _MAX_LINKS} more" if len(fault.links) > _MAX_LINKS else ""
    return f"{fault.target} (links {', '.join(fault.links[:_MAX_LINKS])}{more})"


def relative_ms(at_ns: int | None, history: History) -> str:
    """Milliseconds since the test began, one decimal, or a dash where nobody knows."""
    return "-" if at_ns is None else f"{(at_ns - history.started_ns) / 1e6:.1f}"


def _all(history: History) -> Iterator[Moment]:
    yield from map(of_attempt, history.attempts)
    yield from map(of_op, history.ops)
    yield from map(of_message, history.messages)
    yield from map(of_effect, history.effects)
    yield from map(of_node, history.node_events)
    yield from map(of_fault, history.faults)
    yield from map(of_span, history.spans)


def _attempt_status(attempt: Attempt) -> str:
    given = _code(attempt.status, attempt.grpc_status, attempt.protocol)
    upstream = _code(attempt.upstream_status, attempt.upstream_grpc_status, attempt.protocol)
    seen = attempt.error or given or ("open" if attempt.ended_ns is None else _ended(attempt))
    return f"{seen} (callee: {upstream})" if upstream and upstream != given else seen


def _ended(attempt: Attempt) -> str:
    """How it ended without a status of HTTP or gRPC: a broker's own word, or a connection's end."""
    return "closed" if attempt.protocol == "tcp" or attempt.is_request else attempt.response_headers.get("error", "ok")


def _code(status: int | None, grpc_status: int | None, protocol: str) -> str:
    if grpc_status is not None:
        return _GRPC[grpc_status] if 0 <= grpc_status < len(_GRPC) else f"gRPC {grpc_status}"
    return "" if status is None or protocol == "grpc" else str(status)
