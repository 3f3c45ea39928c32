"""traces.jaeger.json: the spans of all tests in the shape that Jaeger's UI opens without any backend.

The shape is that of the UI's own files: microseconds, references, typed tags, processes. Jaeger knows no bands on its
time axis, so a fault window is drawn as a span of a service ``chaos`` under the root of each trace that it touched,
tagged ``chaos.synthetic``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from pytest_chaos.model.history import FaultRecord, History
from pytest_chaos.model.span import AttributeValue, Span
from pytest_chaos.reporting.moments import fault_label
from pytest_chaos.reporting.reading import Run

CHAOS = "chaos"
_NO_PARENT = ""


def render(run: Run) -> str:
    """Render the file: one trace for each trace id of each test."""
    found = [
        trace for case in run.cases if case.history for trace in traces(case.history, case.nodeid, run.record.run_id)
    ]
    return json.dumps({"data": found}, separators=(",", ":")) + "\n"


def traces(history: History, nodeid: str, run_id: str) -> list[dict[str, Any]]:
    """The traces of one test; a span that arrived twice is there once."""
    grouped: dict[str, dict[str, Span]] = {}
    for span in history.spans:
        grouped.setdefault(span.trace_id, {}).setdefault(span.span_id, span)
    offset_ns = clock_offset_ns(history.spans)
    return [
        _trace(trace_id, list(spans.values()), history, offset_ns, {"chaos.test": nodeid, "chaos.run_id": run_id})
        for trace_id, spans in grouped.items()
    ]


def clock_offset_ns(spans: Sequence[Span]) -> int | None:
    """What to add to a monotonic time (ns) to get the senders' wall clock; None when no span tells.

    A span arrives after it has ended, so the smallest delay seen is the best estimate, wrong by no more than that
    delay.
    """
    return max((span.end_unix_ns - span.received_ns for span in spans if span.received_ns), default=None)


def _trace(
    trace_id: str, spans: Sequence[Span], history: History, offset_ns: int | None, known: dict[str, AttributeValue]
) -> dict[str, Any]:
    services = {
        name: f"p{number}" for number, name in enumerate(dict.fromkeys(span.service for span in spans), start=1)
    }
    ids = {span.span_id for span in spans}
    root = min(
        (span for span in spans if span.parent_id not in ids), key=lambda span: span.start_unix_ns, default=spans[0]
    )
    shown = [_span(span, services[span.service]) for span in spans]
    start, end = min(span.start_unix_ns for span in spans), max(span.end_unix_ns for span in spans)
    if offset_ns is not None:
        for fault in history.faults:
            begins, lifted = fault.installed_ns + offset_ns, (fault.lifted_ns or history.ended_ns) + offset_ns
            if begins <= end and lifted >= start:
                shown.append(_window(fault, root, begins, lifted, known))
    processes: dict[str, Any] = {key: {"serviceName": name, "tags": []} for name, key in services.items()}
    if len(shown) > len(spans):
        processes[CHAOS] = {"serviceName": CHAOS, "tags": []}
    return {"traceID": trace_id, "spans": shown, "processes": processes, "warnings": None}


def _span(span: Span, process: str) -> dict[str, Any]:
    references = [_reference("CHILD_OF", span.trace_id, span.parent_id)] if span.parent_id != _NO_PARENT else []
    references += [_reference("FOLLOWS_FROM", link.trace_id, link.span_id) for link in span.links]
    tags = [_tag("span.kind", span.kind), *(_tag(name, value) for name, value in span.attributes.items())]
    if span.status != "unset":
        tags.append(_tag("otel.status_code", span.status.upper()))
    if span.status == "error":
        tags += [_tag("error", value=True), _tag("otel.status_description", span.status_message)]
    logs = [
        {
            "timestamp": event.at_unix_ns // 1000,
            "fields": [_tag("event", event.name), *(_tag(*item) for item in event.attributes.items())],
        }
        for event in span.events
    ]
    return _entry(
        span.trace_id, span.span_id, span.name, references, (span.start_unix_ns, span.end_unix_ns), tags, logs, process
    )


def _window(
    fault: FaultRecord, root: Span, begins: int, lifted: int, known: dict[str, AttributeValue]
) -> dict[str, Any]:
    span_id = hashlib.blake2b(f"{root.trace_id}/{fault.id}/{fault.installed_ns}".encode(), digest_size=8).hexdigest()
    tags: dict[str, AttributeValue] = {
        "span.kind": "internal",
        "chaos.synthetic": True,
        "chaos.fault": fault.id,
        "chaos.target": fault.target,
        "chaos.hits": fault.hits,
    }
    tags |= known
    return _entry(
        root.trace_id,
        span_id,
        f"{fault.id} {fault_label(fault)} on {fault.target}",
        [_reference("CHILD_OF", root.trace_id, root.span_id)],
        (begins, lifted),
        [_tag(name, value) for name, value in tags.items()],
        [],
        CHAOS,
    )


def _entry(
    trace_id: str,
    span_id: str,
    name: str,
    references: list[dict[str, str]],
    times_unix_ns: tuple[int, int],
    tags: list[dict[str, Any]],
    logs: list[dict[str, Any]],
    process: str,
) -> dict[str, Any]:
    start, end = times_unix_ns
    return {
        "traceID": trace_id,
        "spanID": span_id,
        "operationName": name,
        "references": references,
        "startTime": start // 1000,
        "duration": max((end - start) // 1000, 0),
        "tags": tags,
        "logs": logs,
        "processID": process,
        "warnings": None,
    }


def _reference(kind: str, trace_id: str, span_id: str) -> dict[str, str]:
    return {"refType": kind, "traceID": trace_id, "spanID": span_id}


def _tag(key: str, value: AttributeValue) -> dict[str, Any]:
    kind = {bool: "bool", int: "int64", float: "float64"}.get(type(value), "string")
    return {"key": key, "type": kind, "value": value}
