"""Trace ids worth looking at, with a link into a Jaeger when its address is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from pytest_chaos.model.history import History
from pytest_chaos.reporting.moments import moments

MAX_TRACES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceLink:
    """A trace, whose request it was, how many of its spans arrived, and its address in a Jaeger (empty without one)."""

    trace_id: str
    operation: str
    spans: int
    url: str = ""


def trace_links(history: History, witness: Sequence[str], jaeger_url: str) -> tuple[TraceLink, ...]:
    """The traces of the witness's events first, then those of the driver's ops; at most MAX_TRACES."""
    index = moments(history)
    found: dict[str, str] = {}
    for moment in [index[one] for one in witness if one in index] + [index[op.id] for op in history.ops]:
        if moment.trace_id:
            found.setdefault(moment.trace_id, moment.operation)
    spans: dict[str, int] = {}
    for span in history.spans:
        spans[span.trace_id] = spans.get(span.trace_id, 0) + 1
    return tuple(
        TraceLink(
            trace_id=trace_id, operation=operation, spans=spans.get(trace_id, 0), url=jaeger_link(jaeger_url, trace_id)
        )
        for trace_id, operation in list(found.items())[:MAX_TRACES]
    )


def jaeger_link(jaeger_url: str, trace_id: str) -> str:
    """The page of a trace in a Jaeger, or nothing when the address is not one of http or https."""
    if not trace_id or urlsplit(jaeger_url).scheme not in ("http", "https"):
        return ""
    return f"{jaeger_url.rstrip('/')}/trace/{quote(trace_id, safe='')}"
