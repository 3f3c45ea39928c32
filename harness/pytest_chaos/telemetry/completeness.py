"""Whether the spans of a test are all there: wire saw every request, so it can say which spans must exist."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import NodeInfo
from pytest_chaos.model.span import Span

_MOST = 20
_TRACED = frozenset({"http/1.1", "h2", "grpc"})
_ENTRY = frozenset({"server", "consumer"})


def missing_spans(attempts: Sequence[Attempt], spans: Sequence[Span], nodes: Sequence[NodeInfo]) -> tuple[str, ...]:
    """Name what is missing, one sentence each, at most 20 and a count; empty: the spans are complete.

    An instrumented service (declared, or undeclared and sending spans) owes a client span for each of its requests on a
    link, and a server span for each that was forwarded to it; no span of those traces may name a parent that nobody
    sent. A request without trace context owes nothing that could be told: it counts as missing.
    """
    sending = {span.service for span in spans}
    instrumented = {node.name for node in nodes if _is_instrumented(node, sending)}
    if not instrumented:
        return ("no service of this topology sends spans",) if any(node.kind == "service" for node in nodes) else ()
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    entries = {(span.service, span.trace_id, span.parent_id) for span in spans if span.kind in _ENTRY}
    found: list[str] = []
    foreign: set[tuple[str, str]] = set()
    for attempt in attempts:
        if attempt.protocol not in _TRACED:
            continue
        context = _context(attempt)
        if attempt.caller not in instrumented:
            foreign.add(context)
        found += _owed(attempt, context, by_id, entries, instrumented)
    found += _orphans(spans, {_context(attempt)[0] for attempt in attempts}, by_id, foreign)
    return (*found[:_MOST], f"and {len(found) - _MOST} more") if len(found) > _MOST else tuple(found)


def _is_instrumented(node: NodeInfo, sending: Collection[str]) -> bool:
    if node.kind != "service":
        return False
    return node.name in sending if node.instrumented is None else node.instrumented


def _context(attempt: Attempt) -> tuple[str, str]:
    parts = attempt.request_headers.get("traceparent", "").split("-")
    return (parts[1], parts[2]) if len(parts) >= 4 else ("", "")


def _owed(
    attempt: Attempt,
    context: tuple[str, str],
    by_id: dict[tuple[str, str], Span],
    entries: set[tuple[str, str, str]],
    instrumented: set[str],
) -> list[str]:
    callee = attempt.callee.partition(".")[0]
    mine = [name for name in (attempt.caller, callee) if name in instrumented]
    if not mine:
        return []
    what = f"{attempt.id} {attempt.operation} on {attempt.link}"
    if not context[1]:
        return [f"{what} carries no trace context: its spans cannot be told"]
    owed = []
    if attempt.caller in instrumented and context not in by_id:
        owed.append(f"{attempt.caller} sent no client span {context[1]} for {what}")
    if callee in instrumented and attempt.forwarded_ns is not None and (callee, *context) not in entries:
        owed.append(f"{callee} sent no server span under {context[1]} for {what}")
    return owed


def _orphans(
    spans: Sequence[Span], traces: set[str], by_id: dict[tuple[str, str], Span], foreign: set[tuple[str, str]]
) -> list[str]:
    return [
        f"{span.service} {span.name!r} ({span.span_id}) has a parent {span.parent_id} that nobody sent"
        for span in spans
        if span.parent_id
        and span.trace_id in traces
        and (span.trace_id, span.parent_id) not in by_id
        and (span.trace_id, span.parent_id) not in foreign
    ]
