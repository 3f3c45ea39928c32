"""How attempts ended, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import History


def outcome_of(attempt: Attempt) -> str:
    """Name how an attempt ended: ``status 503``, ``gRPC status 14``, ``reset``, ``the caller giving up on it``."""
    if attempt.protocol == "grpc" and attempt.grpc_status is not None:
        return f"gRPC status {attempt.grpc_status}"
    if attempt.status is not None and not attempt.error:
        return f"status {attempt.status}"
    if attempt.closed_by == "caller":
        return "the caller giving up on it"
    return attempt.error or "no answer"


def retry_after_s(attempt: Attempt) -> float | None:
    """Give the seconds that an answer asks to wait (Retry-After in seconds, ``grpc-retry-pushback-ms``), or None."""
    pushback = attempt.response_headers.get("grpc-retry-pushback-ms", "")
    if pushback.isdigit():
        return int(pushback) / 1000
    asked = attempt.response_headers.get("retry-after", "")
    return float(asked) if asked.isdigit() else None


def with_faults(attempts: Iterable[Attempt]) -> list[str]:
    """List the ids of attempts and of the faults that acted on them."""
    seen = list(attempts)
    return [*(one.id for one in seen), *dict.fromkeys(fault for one in seen for fault in one.faults)]


def answered_otherwise(attempt: Attempt, history: History) -> bool:
    """Whether a fault gave the caller another answer than the callee's: what looks well may be no success to it."""
    return any(fault.alters and fault.id in attempt.faults for fault in history.faults)


def end_unseen(attempt: Attempt) -> bool:
    """Whether the caller ended the attempt without an answer: it may have given up long before it closed."""
    return attempt.closed_by == "caller" and attempt.answered_ns is None
