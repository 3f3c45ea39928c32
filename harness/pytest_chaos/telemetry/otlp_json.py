"""OTLP's JSON encoding to spans: ids in hex, enums as numbers, 64-bit integers as strings, unknown fields ignored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_chaos.model.span import AttributeValue, Span, SpanEvent, SpanLink
from pytest_chaos.telemetry.names import KINDS, STATUSES, as_text


def spans(body: bytes, at_ns: int) -> Iterator[Span]:
    """Give the spans of one request; raise ValueError when it is not one."""
    try:
        for resource_spans in _list(json.loads(body), "resourceSpans"):
            resource = _attributes(_list(resource_spans.get("resource") or {}, "attributes"))
            service = as_text(resource.get("service.name", ""))
            for scope in _list(resource_spans, "scopeSpans"):
                for span in _list(scope, "spans"):
                    yield _span(span, service, at_ns)
    except (AttributeError, KeyError, TypeError) as wrong:
        msg = f"not OTLP JSON: {wrong!r}"
        raise ValueError(msg) from wrong


def _span(row: Mapping[str, Any], service: str, at_ns: int) -> Span:
    status = row.get("status") or {}
    parent = _id(row.get("parentSpanId"))
    return Span(
        trace_id=_id(row.get("traceId")),
        span_id=_id(row.get("spanId")),
        parent_id=parent.strip("0") and parent,
        service=service,
        name=str(row.get("name", "")),
        kind=KINDS.get(int(row.get("kind", 0)), "unspecified"),
        start_unix_ns=int(row.get("startTimeUnixNano", 0)),
        end_unix_ns=int(row.get("endTimeUnixNano", 0)),
        status=STATUSES.get(int(status.get("code", 0)), "unset"),
        status_message=str(status.get("message", "")),
        attributes=_attributes(_list(row, "attributes")),
        events=tuple(
            SpanEvent(
                name=str(event.get("name", "")),
                at_unix_ns=int(event.get("timeUnixNano", 0)),
                attributes=_attributes(_list(event, "attributes")),
            )
            for event in _list(row, "events")
        ),
        links=tuple(
            SpanLink(trace_id=_id(link.get("traceId")), span_id=_id(link.get("spanId"))) for link in _list(row, "links")
        ),
        received_ns=at_ns,
    )


def _attributes(pairs: list[Any]) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {}
    for pair in pairs:
        plain = _any(pair.get("value") or {})
        found[str(pair["key"])] = plain if isinstance(plain, (str, int, float)) else as_text(plain)
    return found


def _any(value: Mapping[str, Any]) -> object:  # noqa: PLR0911 - one case a kind
    for name, inner in value.items():
        match name:
            case "stringValue" | "bytesValue":
                return str(inner)
            case "boolValue":
                return bool(inner)
            case "intValue":
                return int(inner)
            case "doubleValue":
                return float(inner)
            case "arrayValue":
                return [_any(one) for one in _list(inner, "values")]
            case "kvlistValue":
                return dict(_attributes(_list(inner, "values")))
            case _:
                continue
    return ""


def _list(row: Mapping[str, Any], name: str) -> list[Any]:
    found = row.get(name) or []
    if not isinstance(found, list):
        msg = f"{name} is no list"
        raise TypeError(msg)
    return found


def _id(value: object) -> str:
    return str(value or "").lower()
