"""How one attempt ended, and what that says about its effect: happened, certainly not, or nobody knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Effect(StrEnum):
    """What is known about the callee's work. A time-out is UNKNOWN, never NONE."""

    NONE = "none"
    UNKNOWN = "unknown"
    HAPPENED = "happened"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of an attempt, or of several.

    ``code`` is ``http:503``, ``grpc:UNAVAILABLE``, ``connect`` (never sent), ``timeout``, ``broken`` (the connection
    died on the way), ``garbled`` (an answer that is none) or ``breaker`` (not attempted). ``retry_after_s`` is what
    the callee asked for.
    """

    code: str
    effect: Effect
    status: int = 0
    body: Mapping[str, Any] = field(default_factory=dict)
    retry_after_s: float | None = None
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether the callee said yes."""
        return self.effect is Effect.HAPPENED

    @property
    def refused(self) -> bool:
        """Whether the callee said a definite no."""
        return self.code in _REFUSALS or (self.code.startswith("http:4") and self.code not in RETRYABLE)

    @property
    def fault_of_callee(self) -> bool:
        """Whether a breaker counts it: no answer, or a 5xx; a 4xx says nothing about the callee's health."""
        return (
            not self.ok and self.code != "breaker" and not self.code.startswith("http:4") and self.code not in _REFUSALS
        )


# correctness of HTTP and gRPC codes: what may go away by itself. 500, 409 and 423 are not among them.
RETRYABLE = frozenset(
    {"connect", "timeout", "broken", "garbled", "grpc:UNAVAILABLE", "grpc:DEADLINE_EXCEEDED"}
    | {f"http:{status}" for status in (408, 425, 429, 502, 503, 504)}
)
_REFUSALS = frozenset(
    f"grpc:{name}"
    for name in (
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "FAILED_PRECONDITION",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "ABORTED",
    )
)


def of_status(status: int, body: Mapping[str, Any], *, retry_after_s: float | None = None) -> Outcome:
    """Judge an HTTP answer: 2xx happened, 4xx did not, everything else may have."""
    effect = Effect.HAPPENED if 200 <= status < 300 else Effect.NONE if 400 <= status < 500 else Effect.UNKNOWN
    return Outcome(code=f"http:{status}", effect=effect, status=status, body=body, retry_after_s=retry_after_s)
