"""What the driver did: one logical operation, in Jepsen's form (invoke, then ok, fail or info)."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_chaos.model.attempt import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One call of the driver, from before its first byte until its answer was parsed. Times are monotonic ns.

    ``outcome`` is ``info`` when nobody can say whether it happened: a time-out or a reset is never ``fail``.
    """

    id: str
    link: str
    operation: str
    invoked_ns: int
    completed_ns: int | None = None
    outcome: Outcome = "info"
    status: int | None = None
    grpc_status: int | None = None
    error: str = ""
    correlation_id: str = ""
    trace_id: str = ""
    idempotency_key: str = ""
    marker: str = ""
    deadline_s: float | None = None
    response_headers: dict[str, str] = field(default_factory=dict)
    request_body: str = ""
    response_body: str = ""

    @property
    def duration_s(self) -> float | None:
        """Seconds from invocation to completion, or None while open."""
        return None if self.completed_ns is None else (self.completed_ns - self.invoked_ns) / 1e9
