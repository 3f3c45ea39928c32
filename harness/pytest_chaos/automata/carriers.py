"""What carries a correlation id, and the driver's op that caused it, found without looking at that id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pytest_chaos.automata.grouping import Causes
from pytest_chaos.model.history import History
from pytest_chaos.model.op import Op
from pytest_chaos.model.topology import DRIVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """One request or message: where it was seen, the id that it carried, the op that caused it (None: nobody can say).

    ``owner`` is the op whose correlation id it carries. ``how`` is ``trace``, ``marker`` or ``exclusive``.
    """

    id: str
    kind: Literal["request", "message"]
    where: str
    what: str
    at_ns: int
    correlation_id: str
    op: Op | None
    owner: Op | None
    how: Literal["trace", "marker", "exclusive", ""] = ""
    dead: bool = False


def carriers(history: History) -> Iterator[Carrier]:
    """Give every request behind the driver's own and every message at a broker, in no particular order."""
    causes = Causes(history)
    owners = {op.correlation_id: op for op in history.ops if op.correlation_id}
    by_marker = {op.marker: op for op in history.ops if op.marker}
    for attempt in history.attempts:
        if attempt.caller == DRIVER or not attempt.is_request or attempt.replayed:
            continue
        op, how = _cause(causes, by_marker, attempt.trace_id, attempt.marker, attempt.started_ns)
        yield Carrier(
            id=attempt.id,
            kind="request",
            where=attempt.link,
            what=attempt.operation,
            at_ns=attempt.started_ns,
            correlation_id=attempt.correlation_id,
            op=op,
            owner=owners.get(attempt.correlation_id),
            how=how,
        )
    for message in history.messages:
        if message.event not in ("published", "dead"):
            continue
        parts = message.traceparent.split("-")
        trace_id = parts[1] if len(parts) >= 4 else ""
        op, how = _cause(causes, by_marker, trace_id, message.marker, message.at_ns)
        yield Carrier(
            id=message.id,
            kind="message",
            where=f"{message.broker}/{message.channel}",
            what=f"message {message.marker}",
            at_ns=message.at_ns,
            correlation_id=message.correlation_id,
            op=op,
            owner=owners.get(message.correlation_id),
            how=how,
            dead=message.event == "dead",
        )


def _cause(
    causes: Causes, by_marker: dict[str, Op], trace_id: str, marker: str, at_ns: int
) -> tuple[Op | None, Literal["trace", "marker", "exclusive", ""]]:
    traced = causes.op(trace_id, "")
    if traced:
        return traced, "trace"
    if marker in by_marker:
        return by_marker[marker], "marker"
    alone = causes.exclusive(at_ns)
    return (alone, "exclusive") if alone else (None, "")
