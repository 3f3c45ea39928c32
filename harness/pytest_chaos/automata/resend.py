"""R5: what may have had an effect is not sent again without one identical key (after RFC 9110, 9.2.2)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pytest_chaos.automata.grouping import Call, transport_resend
from pytest_chaos.automata.outcomes import outcome_of
from pytest_chaos.automata.timing import end_ns
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import History
from pytest_chaos.model.verdict import Blame

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """One re-send after an attempt whose effect is not certainly none; ``unknown``: the evidence does not say."""

    kind: Literal["safe", "unsafe", "unknown"]
    before: Attempt
    after: Attempt
    message: str
    keyless: bool = False
    blame: Blame = "application"


def resends(call: Call, idempotent: tuple[str, ...] = ()) -> Iterator[Resend]:
    """Judge each re-send of a call; operations that are idempotent by HTTP's definition or by declaration have none.

    What a caller sends because a fault delivered it its own request once more is no re-send: that the work is done
    once then is a matter of idempotency, not of R5. Where nobody can say what an attempt was sent for, it is unknown.
    """
    method = call.operation.partition(" ")[0]
    if method in _SAFE_METHODS or call.operation in idempotent:
        return
    for before, after, known in _pairs(call):
        if before.outcome == "ok" or before.effect == "none":
            continue
        keys = {before.idempotency_key, after.idempotency_key}
        if len(keys) == 1 and "" not in keys:
            message = f"{call.name} was sent again after {outcome_of(before)} under one key, {min(keys)!r}"
            yield Resend(kind="safe", before=before, after=after, message=message)
        elif not known:
            yield Resend(kind="unknown", before=before, after=after, message=call.doubtful)
        elif before.protocol == "grpc" and keys == {""}:
            message = f"{call.operation} carries no key; name it in `idempotent` if its payload identifies it"
            yield Resend(kind="unknown", before=before, after=after, message=message)
        else:
            shown = "no idempotency key" if keys == {""} else "another idempotency key"
            wait_ms = (after.started_ns - (before.ended_ns or before.started_ns)) / 1e6
            message = (
                f"{call.link}: {call.operation} was sent again {wait_ms:.0f} ms after {outcome_of(before)}, "
                f"whose effect is {'done' if before.effect == 'happened' else 'unknown'}, with {shown}"
            )
            blame: Blame = "client library" if transport_resend(before, after) else "application"
            yield Resend(kind="unsafe", before=before, after=after, message=message, keyless=keys == {""}, blame=blame)


def _pairs(call: Call) -> Iterator[tuple[Attempt, Attempt, bool]]:
    """Give each attempt with the last one before it that may have the same origin, and whether it has that for sure."""
    seen = list(zip(call.attempts, call.origins, strict=True))
    for place, (after, origin) in enumerate(seen):
        for before, other in reversed(seen[:place]):
            if origin & other:
                yield before, after, origin == other and len(origin) == 1
                break


def without_resends(attempts: tuple[Attempt, ...]) -> list[Attempt]:
    """Leave out what a client library sent again by itself: such an attempt stands for the one before it."""
    kept = [attempts[0]]
    for before, after in itertools.pairwise(attempts):
        if not before.faults and transport_resend(before, after):
            kept[-1] = after
        else:
            kept.append(after)
    return kept


def turned_away(history: History, call: Call, after_ns: int) -> bool:
    """Whether the call was answered with Retry-After once its last attempt had ended, as behind an open breaker."""
    caller = call.link.partition(" -> ")[0]
    if call.op is None:
        return any("retry-after" in op.response_headers for op in history.ops)
    if "retry-after" in {name.lower() for name in call.op.response_headers}:
        return True
    return any(
        "retry-after" in one.response_headers and end_ns(one, history) >= after_ns
        for one in history.attempts
        if one.callee.partition(".")[0] == caller
    )
