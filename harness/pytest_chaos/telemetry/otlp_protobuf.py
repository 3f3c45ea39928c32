"""OTLP's ``ExportTraceServiceRequest`` to spans. Field numbers: opentelemetry-proto, trace/v1 and common/v1."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from pytest_chaos.model.span import AttributeValue, Span, SpanEvent, SpanLink
from pytest_chaos.telemetry.names import KINDS, STATUSES, as_text
from pytest_chaos.telemetry.protobuf import Value, fields, part, signed, text, whole


def spans(body: bytes, at_ns: int) -> Iterator[Span]:
    """Give the spans of one request; raise ValueError when it is not one."""
    for number, resource_spans in fields(memoryview(body)):
        if number == 1:
            yield from _resource_spans(part(resource_spans), at_ns)


def _resource_spans(message: memoryview, at_ns: int) -> Iterator[Span]:
    service = ""
    scopes: list[memoryview] = []
    for number, value in fields(message):
        if number == 1:
            attributes = _attributes(inner for key, inner in fields(part(value)) if key == 1)
            service = as_text(attributes.get("service.name", ""))
        elif number == 2:
            scopes.append(part(value))
    for scope in scopes:
        for number, value in fields(scope):
            if number == 2:
                yield _span(part(value), service, at_ns)


@dataclass(slots=True)
class _Parts:
    """What a span's fields say, as they come."""

    numbers: dict[int, int] = field(default_factory=dict)
    ids: dict[int, str] = field(default_factory=dict)
    name: str = ""
    attributes: list[Value] = field(default_factory=list)
    events: list[SpanEvent] = field(default_factory=list)
    links: list[SpanLink] = field(default_factory=list)
    status: int = 0
    message: str = ""


def _span(message: memoryview, service: str, at_ns: int) -> Span:
    found = _Parts()
    for number, value in fields(message):
        _take(found, number, value)
    return Span(
        trace_id=found.ids.get(1, ""),
        span_id=found.ids.get(2, ""),
        parent_id=found.ids.get(4, "").strip("0") and found.ids[4],
        service=service,
        name=found.name,
        kind=KINDS.get(found.numbers.get(6, 0), "unspecified"),
        start_unix_ns=found.numbers.get(7, 0),
        end_unix_ns=found.numbers.get(8, 0),
        status=STATUSES.get(found.status, "unset"),
        status_message=found.message,
        attributes=_attributes(found.attributes),
        events=tuple(found.events),
        links=tuple(found.links),
        received_ns=at_ns,
    )


def _take(found: _Parts, number: int, value: Value) -> None:  # noqa: C901 - one case a field
    match number:
        case 1 | 2 | 4:
            found.ids[number] = part(value).hex()
        case 5:
            found.name = text(value)
        case 6 | 7 | 8:
            found.numbers[number] = whole(value)
        case 9:
            found.attributes.append(value)
        case 11:
            found.events.append(_event(part(value)))
        case 13:
            ids = {key: part(inner).hex() for key, inner in fields(part(value)) if key in (1, 2)}
            found.links.append(SpanLink(trace_id=ids.get(1, ""), span_id=ids.get(2, "")))
        case 15:
            for key, inner in fields(part(value)):
                if key == 2:
                    found.message = text(inner)
                elif key == 3:
                    found.status = whole(inner)


def _event(message: memoryview) -> SpanEvent:
    name, at, attributes = "", 0, []
    for number, value in fields(message):
        if number == 1:
            at = whole(value)
        elif number == 2:
            name = text(value)
        elif number == 3:
            attributes.append(value)
    return SpanEvent(name=name, at_unix_ns=at, attributes=_attributes(attributes))


def _attributes(pairs: Iterator[Value] | list[Value]) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {}
    for pair in pairs:
        key, value = "", ""
        plain: AttributeValue | list[object] | dict[str, object] = value
        for number, inner in fields(part(pair)):
            if number == 1:
                key = text(inner)
            elif number == 2:
                plain = _any(part(inner))
        found[key] = plain if isinstance(plain, (str, int, float)) else as_text(plain)
    return found


def _any(message: memoryview) -> AttributeValue | list[object] | dict[str, object]:  # noqa: PLR0911 - one case a kind
    for number, value in fields(message):
        match number:
            case 1:
                return text(value)
            case 2:
                return bool(whole(value))
            case 3:
                return signed(value)
            case 4:
                return float(struct.unpack("<d", whole(value).to_bytes(8, "little"))[0])
            case 5:
                return [_any(part(inner)) for key, inner in fields(part(value)) if key == 1]
            case 6:
                return dict(_attributes([inner for key, inner in fields(part(value)) if key == 1]))
            case 7:
                return part(value).hex()
            case _:
                continue
    return ""
