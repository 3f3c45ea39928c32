"""Joins the attempts on a link to logical operations.

By the order of trust: payload marker, trace or correlation id, idempotency key, exclusive use.
The idempotency key ranks below what the driver itself put in, since a fresh key per attempt is a defect that must not
hide itself. Overlap without any identity is not guessed at: such attempts are ``loose``.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_chaos.automata.timing import end_ns, restarts, skew_ns
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import History
from pytest_chaos.model.op import Op
from pytest_chaos.model.topology import DRIVER

How = Literal["marker", "trace", "key", "exclusive"]
_RESEND_NS = 10_000_000
_READS = ("GET ", "HEAD ", "OPTIONS ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Attempts that one invocation of the caller's code made, in order.

    A new run begins where the caller was restarted, where the trace changes, and where the request that caused the
    earlier attempts had been answered. What a fault had the caller do once more is a run of its own, since the caller
    did not decide to send it twice. ``detached``: nobody was waiting for it any more (a resumer, a background task), so
    the declared policy of the synchronous call does not bind it.
    """

    attempts: tuple[Attempt, ...]
    detached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One logical operation on one link: its attempts, how they were joined, and the driver's op behind them.

    ``origins`` says, for each attempt, which requests to the caller may have set it off: 0 is the one that was meant, a
    higher number one that a fault delivered once more, or that came of such. More than one: nobody can say which.
    """

    link: str
    operation: str
    key: str
    how: How
    attempts: tuple[Attempt, ...]
    runs: tuple[Run, ...]
    origins: tuple[frozenset[int], ...]
    op: Op | None = None

    @property
    def doubtful(self) -> str:
        """Why nobody can say which attempts belong together, though they are all of this call; else empty."""
        if all(len(one) == 1 for one in self.origins):
            return ""
        caller = self.link.partition(" -> ")[0]
        return f"a fault delivered the request behind {self.name} to {caller} again while the first one was worked on"

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.operation} ({self.how} {self.key})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """The calls of one link, by their first attempt, and the attempts that nothing identifies."""

    calls: tuple[Call, ...]
    loose: tuple[Attempt, ...]


class Causes:
    """Finds the driver's op behind an attempt or a message."""

    def __init__(self, history: History) -> None:
        self._ops = history.ops
        self._by_trace = {op.trace_id: op for op in history.ops if op.trace_id}
        self._by_correlation: dict[str, Op | None] = {}
        for op in history.ops:
            if op.correlation_id:
                # One id used for two ops names neither.
                self._by_correlation[op.correlation_id] = None if op.correlation_id in self._by_correlation else op

    def op(self, trace_id: str, correlation_id: str) -> Op | None:
        """Give the op with this trace id, else the one with this correlation id."""
        found = self._by_trace.get(trace_id) if trace_id else None
        return found or (self._by_correlation.get(correlation_id) if correlation_id else None)

    def of(self, attempt: Attempt) -> Op | None:
        """Give the op that an attempt's headers name."""
        return self.op(attempt.trace_id, attempt.correlation_id)

    def exclusive(self, at_ns: int) -> Op | None:
        """Give the only op that can have caused something at a time: the one op open then, or the only op there is."""
        if len(self._ops) == 1:
            return self._ops[0] if self._ops[0].invoked_ns <= at_ns else None
        begun = [op for op in self._ops if op.invoked_ns <= at_ns]
        open_then = [op for op in begun if op.completed_ns is None or op.completed_ns >= at_ns]
        return open_then[0] if len(open_then) == 1 else None


def group(history: History, link: str, *, operations: Iterable[str] = ()) -> Grouped:
    """Join the attempts of a link to calls; ``operations`` restricts to those (a trailing ``*`` matches any rest)."""
    causes = Causes(history)
    wanted = tuple(operations)
    buckets: dict[tuple[str, str, str], list[Attempt]] = {}
    ops: dict[tuple[str, str, str], Op | None] = {}
    loose: list[Attempt] = []
    for attempt in history.on(link):
        if not attempt.is_request or (wanted and not matches(attempt.operation, wanted)):
            continue
        op = causes.of(attempt)
        identity = _identity(attempt, op, causes)
        if identity is None:
            loose.append(attempt)
            continue
        bucket = (attempt.operation, *identity)
        buckets.setdefault(bucket, []).append(attempt)
        ops.setdefault(bucket, op or (causes.exclusive(attempt.started_ns) if identity[0] == "exclusive" else None))
    inbound = _Inbound(history, link.partition(" -> ")[0], causes)
    calls = [
        _call(link, bucket, attempts, ops[bucket], inbound)
        for bucket, found in buckets.items()
        for attempts in _intents(bucket[1], found)
    ]
    calls.sort(key=lambda call: call.attempts[0].started_ns)
    return Grouped(calls=tuple(calls), loose=tuple(loose))


def matches(operation: str, wanted: Sequence[str]) -> bool:
    """Whether an operation is one of those wanted; ``POST /orders/*`` matches any rest, nothing wanted matches all."""
    return not wanted or any(
        operation == one or (one.endswith("*") and operation.startswith(one[:-1])) for one in wanted
    )


def transport_resend(before: Attempt, after: Attempt) -> bool:
    """Whether ``after`` looks like a client library's own re-send: same bytes on a new connection within 10 ms."""
    return (
        before.reused
        and before.answered_ns is None
        and before.status is None
        and before.ended_ns is not None
        and after.connection != before.connection
        and after.body_hash == before.body_hash
        and after.started_ns - before.ended_ns < _RESEND_NS
    )


def _identity(attempt: Attempt, op: Op | None, causes: Causes) -> tuple[str, str] | None:
    cause = op.id if op else ""
    if attempt.marker:
        return ("marker", f"{attempt.marker}\0{cause}")
    if cause or attempt.trace_id or attempt.correlation_id:
        return ("trace", cause or attempt.trace_id or attempt.correlation_id)
    if attempt.idempotency_key:
        return ("key", attempt.idempotency_key)
    alone = causes.exclusive(attempt.started_ns)
    return ("exclusive", alone.id) if alone else None


def _intents(how: str, attempts: list[Attempt]) -> list[list[Attempt]]:
    """Separate distinct intents that share a trace: another body, or again after a success."""
    if how in ("marker", "key"):
        return [attempts]
    found: list[list[Attempt]] = []
    for attempt in attempts:
        home = next((intent for intent in reversed(found) if _continues(intent, attempt)), None)
        if home is None:
            found.append([attempt])
        else:
            home.append(attempt)
    return found


def _continues(intent: list[Attempt], attempt: Attempt) -> bool:
    last = intent[-1]
    same_key = bool(last.idempotency_key) and last.idempotency_key == attempt.idempotency_key
    if same_key:
        return True
    if attempt.body_hash != last.body_hash:
        return False
    overlaps = last.ended_ns is None or attempt.started_ns < last.ended_ns
    return last.outcome != "ok" or (overlaps and not attempt.operation.startswith(_READS))


def _delivered_again(history: History, causes: Causes) -> set[str]:
    """Name the requests that a fault delivered once more (deliver twice, deliver late), and those that came of them.

    What a service asks for an op after it was asked once more may come of either.
    """
    found: set[str] = set()
    since: set[tuple[str, str]] = set()
    if not any(one.replayed for one in history.attempts):
        return found
    for attempt in sorted(history.attempts, key=lambda one: one.started_ns):
        op = causes.of(attempt) if attempt.is_request else None
        if op and (attempt.replayed or (op.id, attempt.caller) in since):
            found.add(attempt.id)
            since.add((op.id, attempt.callee.partition(".")[0]))
    return found


class _Inbound:
    """The requests that a caller was asked to answer, by the op behind them: who was still waiting when?"""

    def __init__(self, history: History, caller: str, causes: Causes) -> None:
        self._history = history
        self._restarts = restarts(history, caller)
        self._by_op: dict[str, list[Attempt]] = {}
        self._again: set[str] = set()
        if caller == DRIVER:
            return
        self._again = _delivered_again(history, causes)
        for attempt in history.attempts:
            if attempt.callee.partition(".")[0] == caller and attempt.is_request:
                op = causes.of(attempt)
                if op:
                    self._by_op.setdefault(op.id, []).append(attempt)

    def origins(self, op: Op | None, attempt: Attempt) -> frozenset[int]:
        """Say which requests to the caller may have set an attempt off: those open then, else all that had come."""
        asked = self._by_op.get(op.id, ()) if op and self._again else ()
        came = [
            (number if one.id in self._again else 0, one)
            for number, one in enumerate(asked, start=1)
            if one.forwarded_ns is not None and one.started_ns <= attempt.started_ns
        ]
        late_ns = attempt.started_ns - skew_ns(self._history)
        open_then = [number for number, one in came if end_ns(one, self._history) >= late_ns]
        return frozenset(open_then or [number for number, _ in came] or [0])

    def restarted(self, after_ns: int, before_ns: int) -> bool:
        position = bisect.bisect_left(self._restarts, after_ns)
        return position < len(self._restarts) and self._restarts[position] <= before_ns

    def detached(self, op: Op | None, attempt: Attempt) -> bool:
        """Whether all who had asked for this op were answered, or lost to a restart, before the attempt began."""
        if op is None:
            return False
        asked = [one for one in self._by_op.get(op.id, ()) if one.started_ns <= attempt.started_ns]
        if not asked:
            return False
        return all(self._over(one, attempt.started_ns) for one in asked)

    def _over(self, request: Attempt, at_ns: int) -> bool:
        end = end_ns(request, self._history)
        if request.ended_ns is None or end > at_ns - skew_ns(self._history):
            return False
        answered = request.status is not None or request.grpc_status is not None or request.upstream_status is not None
        return answered or self.restarted(request.started_ns, at_ns)


def _call(link: str, bucket: tuple[str, str, str], attempts: list[Attempt], op: Op | None, inbound: _Inbound) -> Call:
    operation, how, key = bucket
    origins = tuple(inbound.origins(op, attempt) for attempt in attempts)
    runs: list[Run] = []
    for origin in dict.fromkeys(origins):
        mine = [one for one, its in zip(attempts, origins, strict=True) if its == origin]
        runs += _runs(operation, mine, op, inbound)
    return Call(
        link=link,
        operation=operation,
        key=key.partition("\0")[0] or key,
        how=how,  # type: ignore[arg-type]
        attempts=tuple(attempts),
        runs=tuple(runs),
        origins=origins,
        op=op,
    )


def _runs(operation: str, attempts: list[Attempt], op: Op | None, inbound: _Inbound) -> list[Run]:
    runs: list[Run] = []
    current: list[Attempt] = []
    detached = False
    for attempt in attempts:
        now_detached = inbound.detached(op, attempt)
        if current and (
            now_detached != detached
            or inbound.restarted(current[-1].started_ns, attempt.started_ns)
            or (attempt.trace_id and current[-1].trace_id and attempt.trace_id != current[-1].trace_id)
            or (operation.startswith(_READS) and current[-1].outcome == "ok")
        ):
            runs.append(Run(attempts=tuple(current), detached=detached))
            current = []
        detached = now_detached
        current.append(attempt)
    runs.append(Run(attempts=tuple(current), detached=detached))
    return runs
