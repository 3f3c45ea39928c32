"""Requests that went around the proxy, as spans tell: a server span whose request was on no link.

Needs a caller and a callee that both send spans and propagate context over HTTP or gRPC; of others nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import Bypass, NodeInfo
from pytest_chaos.model.op import Op
from pytest_chaos.model.span import Span


def bypasses(
    attempts: Sequence[Attempt], spans: Sequence[Span], nodes: Sequence[NodeInfo], ops: Sequence[Op]
) -> tuple[Bypass, ...]:
    """Name each pair of services between which requests passed that wire did not see, with the ids of their spans.

    A server span whose parent is another service's client span, a request from one service to the other then, must be
    a request that wire saw with that context. Only traces of ``ops`` count, of which everything is in ``attempts``: a
    span of an earlier test may come late. A callee with a connection that wire could not read is left out.
    """
    services = {node.name for node in nodes if node.kind == "service"}
    unreadable = {one.callee.partition(".")[0] for one in attempts if one.protocol == "tcp"}
    traces = {op.trace_id for op in ops}
    seen = {(one.callee.partition(".")[0], *_context(one)) for one in attempts}
    asking = {(span.trace_id, span.span_id): span.service for span in spans if span.kind == "client"}
    found: dict[tuple[str, str], list[str]] = {}
    for span in spans:
        caller = asking.get((span.trace_id, span.parent_id), "")
        between = caller != span.service and {caller, span.service} <= services and span.service not in unreadable
        if span.kind != "server" or span.trace_id not in traces or not between:
            continue
        if (span.service, span.trace_id, span.parent_id) not in seen:
            found.setdefault((caller, span.service), []).append(span.span_id)
    return tuple(Bypass(caller=caller, callee=callee, spans=tuple(ids)) for (caller, callee), ids in found.items())


def _context(attempt: Attempt) -> tuple[str, str]:
    parts = attempt.request_headers.get("traceparent", "").split("-")
    return (parts[1], parts[2]) if len(parts) >= 4 else ("", "")
