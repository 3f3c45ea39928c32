"""One OpenTelemetry span, as decoded from OTLP.

Wall-clock times are the sender's: causality only, never timing verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

AttributeValue = str | int | float | bool
SpanKind = Literal["unspecified", "internal", "server", "client", "producer", "consumer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanLink:
    """A span's reference to another span's context (never a network Link)."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """Something that happened within a span. Time: the sender's wall clock, ns since the epoch."""

    name: str
    at_unix_ns: int
    attributes: dict[str, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A finished span. Ids are lower-case hex; ``parent_id`` is empty for a root."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    service: str
    name: str
    kind: SpanKind = "internal"
    start_unix_ns: int
    end_unix_ns: int
    status: Literal["unset", "ok", "error"] = "unset"
    status_message: str = ""
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    received_ns: int = 0
