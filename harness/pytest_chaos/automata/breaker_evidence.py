"""What a breaker's rejection looks like from outside, and which rule a forbidden event breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_chaos.automata.breaker import Event, State
from pytest_chaos.automata.grouping import Causes
from pytest_chaos.automata.timing import end_ns
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import History
from pytest_chaos.model.op import Op

_UNAVAILABLE = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A request that the caller of a link turned away: it failed and nothing went out on the link for it.

    ``waited_ns`` is its duration without the time spent in requests on other links.
    """

    request: Attempt
    op: Op | None
    waited_ns: int

    @property
    def distinguishable(self) -> bool:
        """Whether it says that it is a rejection: 503 or UNAVAILABLE, and when to come back."""
        if self.request.grpc_status is not None:
            return self.request.grpc_status == _UNAVAILABLE
        return self.request.status == 503 and "retry-after" in self.request.response_headers


def rejections(history: History, link: str) -> list[Rejection]:
    """List the requests that can only have been turned away before the link, by comparing them with those that used it.

    Such a request is of an operation that is known to use the link, failed with 5xx or UNAVAILABLE, sent nothing on
    the link, and had no failure elsewhere. A repeat of an idempotency key is left out: it may have been answered from
    memory.
    """
    causes = Causes(history)
    caller = link.partition(" -> ")[0]
    outgoing: dict[str, list[Attempt]] = {}
    for attempt in history.attempts:
        op = causes.of(attempt)
        if attempt.caller == caller and op and not attempt.replayed:
            outgoing.setdefault(op.id, []).append(attempt)
    requests = [one for one in history.attempts if one.callee.partition(".")[0] == caller and one.is_request]
    using = {
        one.operation
        for one in requests
        if (op := causes.of(one)) and any(out.link == link for out in outgoing.get(op.id, ()))
    }
    found: list[Rejection] = []
    keys: set[str] = set()
    for request in requests:
        op = causes.of(request)
        repeat = bool(request.idempotency_key) and request.idempotency_key in keys
        keys.add(request.idempotency_key)
        if op is None or repeat or request.operation not in using or not _refused(request):
            continue
        mine = outgoing.get(op.id, [])
        if any(one.link == link or one.outcome != "ok" for one in mine):
            continue
        found.append(Rejection(request=request, op=op, waited_ns=_idle_ns(history, request, mine)))
    return found


def bounds(history: History, attempts: Sequence[Attempt]) -> dict[str, tuple[int, int]]:
    """Give, by attempt, when (ns) it can have been admitted at the earliest, and its result known at the latest.

    A caller that answers a request has seen the results of what it sent for it, and it sends the next attempt of one
    call after it has seen the last one's. That orders what the skew alone would leave open.
    """
    causes = Causes(history)
    requests: dict[str, list[Attempt]] = {}
    for one in history.attempts:
        if (op := causes.of(one)) is not None:
            requests.setdefault(f"{op.id} {one.callee.partition('.')[0]}", []).append(one)
    found: dict[str, tuple[int, int]] = {}
    before: dict[str, Attempt] = {}
    for one in sorted(attempts, key=lambda one: one.started_ns):
        earliest, latest = 0, end_ns(one, history) + history.ended_ns
        op = causes.of(one)
        if op is not None:
            asked = [
                asking for asking in requests.get(f"{op.id} {one.caller}", ()) if asking.started_ns <= one.started_ns
            ]
            if asked:
                earliest = asked[-1].started_ns
                ended = end_ns(asked[-1], history)
                latest = ended if ended >= end_ns(one, history) and _answered(asked[-1]) else latest
            last = before.get(f"{op.id} {one.operation}")
            if last is not None and last.ended_ns is not None and last.ended_ns <= one.started_ns:
                earliest = max(earliest, last.ended_ns)
                found[last.id] = (found[last.id][0], min(found[last.id][1], one.started_ns))
            before[f"{op.id} {one.operation}"] = one
        found[one.id] = (earliest, latest)
    return found


def classify(witness: Event, states: Sequence[State]) -> tuple[tuple[str, ...], str]:  # noqa: PLR0911 - a table in words
    """Say which rule an event breaks that no hypothesis allows, and why, in words.

    Two rules where the evidence fits both: after a good probe, many calls at once are many probes, or a closed breaker.
    """
    modes = {state.mode for state in states}
    probing = [state for state in states if state.mode == "half-open"]
    if witness.kind == "admit":
        if probing:
            done = max(state.successes for state in probing)
            if done:
                return ("B4", "B5"), f"calls ran side by side after only {_probes(done)}, as if it were closed"
            return ("B4",), "another call was admitted while a probe was under way"
        if all(state.rejected for state in states):
            return ("B3",), "a call was admitted although it was open and had not waited"
        reopened = [state for state in states if state.reopened]
        if reopened:
            done = max(state.successes for state in reopened)
            return (
                ("B5",),
                f"a call was admitted right after a failed probe; {_probes(done)} had been enough to close it",
            )
        return ("B1",), "calls went on although enough of them had failed in a row"
    if "open" in modes:
        return ("B6",), "a call was rejected although the wait was over"
    if probing:
        return ("B6",), "a call was rejected although no probe was under way"
    if any(state.closed_again and not state.failed for state in states):
        return ("B5",), "a call was rejected although enough probes had succeeded"
    return ("B2",), "a call was rejected before enough calls had failed in a row"


def _refused(request: Attempt) -> bool:
    if request.faults or request.ended_ns is None:
        return False
    return request.grpc_status == _UNAVAILABLE or (request.status is not None and request.status >= 500)


def _idle_ns(history: History, request: Attempt, outgoing: Sequence[Attempt]) -> int:
    end = end_ns(request, history)
    busy, until = 0, request.started_ns
    for one in sorted(outgoing, key=lambda one: one.started_ns):
        start, stop = max(one.started_ns, until), min(end_ns(one, history), end)
        if stop > start:
            busy += stop - start
            until = stop
    return end - request.started_ns - busy


def _answered(request: Attempt) -> bool:
    return request.status is not None or request.grpc_status is not None


def _probes(number: int) -> str:
    return f"{number} successful probe{'' if number == 1 else 's'}"
