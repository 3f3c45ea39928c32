"""One try of one request on one link, as the tap saw it. Times are CLOCK_MONOTONIC nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["ok", "fail", "info"]
EffectKnown = Literal["none", "unknown", "happened"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What the tap saw of one request: who, what, when, how it ended, which faults acted on it.

    ``status``/``grpc_status`` are what the caller was given; ``upstream_status``/``upstream_grpc_status`` what the
    callee answered, which differs when a fault lost or replaced the answer. ``None`` in a time means "never".
    """

    id: str
    link: str
    connection: str
    reused: bool
    protocol: Literal["http/1.1", "grpc", "h2", "amqp", "kafka", "resp", "tcp"]
    operation: str = ""
    connected_ns: int
    started_ns: int
    sent_ns: int | None = None
    forwarded_ns: int | None = None
    answered_ns: int | None = None
    ended_ns: int | None = None
    closed_by: Literal["", "caller", "callee", "wire"] = ""
    status: int | None = None
    grpc_status: int | None = None
    upstream_status: int | None = None
    upstream_grpc_status: int | None = None
    error: str = ""
    request_headers: dict[str, str] = field(default_factory=dict)
    response_headers: dict[str, str] = field(default_factory=dict)
    body_hash: str = ""
    request_bytes: int = 0
    response_bytes: int = 0
    marker: str = ""
    request_messages: int = 0
    response_messages: int = 0
    replayed: bool = False
    deferred: bool = False
    faults: tuple[str, ...] = ()

    @property
    def is_request(self) -> bool:
        """Whether this is a request to a service, which its rules are about: no broker's frame, no bare connection."""
        return self.protocol in {"http/1.1", "grpc", "h2"}

    @property
    def caller(self) -> str:
        """The node that made the request."""
        return self.link.partition(" -> ")[0]

    @property
    def callee(self) -> str:
        """The node that was asked."""
        return self.link.partition(" -> ")[2]

    @property
    def outcome(self) -> Outcome:
        """How it ended for the caller: ``ok`` answered well, ``fail`` definitely refused, ``info`` nobody can say."""
        if self.error or self.ended_ns is None:
            return "fail" if self.effect == "none" else "info"
        if self.protocol == "grpc":
            return "ok" if self.grpc_status == 0 else "info"
        if self.status is None:
            return "info" if self.is_request else "ok"
        if self.status < 400:
            return "ok"
        return "fail" if self.status < 500 else "info"

    @property
    def effect(self) -> EffectKnown:
        """Whether the callee's work can have happened, judged by how far the request got."""
        if self.forwarded_ns is None:
            return "unknown" if self.deferred else "none"
        if self.upstream_grpc_status is not None:
            return "happened" if self.upstream_grpc_status == 0 else "unknown"
        if self.upstream_status is None:
            return "unknown"
        if self.upstream_status < 400:
            return "happened"
        return "none" if self.upstream_status < 500 else "unknown"

    @property
    def idempotency_key(self) -> str:
        """The ``Idempotency-Key`` header, or the empty string."""
        return self.request_headers.get("idempotency-key", "")

    @property
    def correlation_id(self) -> str:
        """The ``x-correlation-id`` header, or the empty string."""
        return self.request_headers.get("x-correlation-id", "")

    @property
    def trace_id(self) -> str:
        """The trace id of the W3C ``traceparent`` header (32 hex digits), or the empty string."""
        parts = self.request_headers.get("traceparent", "").split("-")
        return parts[1] if len(parts) >= 4 else ""
