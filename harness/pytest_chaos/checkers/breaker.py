"""Circuit breaker: opens, stays open, probes and closes as declared; decided by replaying what the link saw."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from pytest_chaos.automata.breaker import Event, Lenience, Replay, Result, Spec, Step, replay
from pytest_chaos.automata.breaker_evidence import Rejection, bounds, classify, rejections
from pytest_chaos.automata.outcomes import answered_otherwise, with_faults
from pytest_chaos.automata.timing import end_ns, latest_ns, ns, restarts, seconds, skew_ns, slack_ns
from pytest_chaos.checkers import Findings, registry, total, unhit
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import History
from pytest_chaos.model.verdict import Verdict

_RULES = ("B1", "B2", "B3", "B4", "B5", "B6", "B7")
_FAILING_GRPC = (2, 4, 8, 13, 14, 15)
_REJECTION_NS = 50_000_000
_MOST_WITNESSES = 12
_Seen: TypeAlias = Mapping[tuple[str, str], Event]
"""What was seen of each call, by kind and call."""


@registry.register("CircuitBreaker")
@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """The caller of ``link`` stops calling after ``failures`` failures in a row, for ``wait_s`` seconds, then probes.

    At most ``probes`` probes are under way at a time; ``successes`` in sequence close it, a failed probe opens it
    again. Decides B1 (trips in time), B2 (not earlier), B3 (nothing admitted while open), B4 (probes), B5 (closes and
    reopens as declared), B6 (comes back), B7 (a rejection is fast, distinguishable, with Retry-After). A failure is a
    transport error, a time-out, a status in ``failure_statuses`` (empty: any from 500) or ``failure_grpc``; other
    errors are ``neutral``. ``late`` and ``neutral`` say whether results of an older era and neutral outcomes count,
    ``any`` accepts both. ``reaction_s`` is how long the caller may take to act on what it learned. Raises ChaosError
    on a value out of range.
    """

    shared_state: ClassVar[bool] = True
    link: str = ""
    failures: int = field(default=5, kw_only=True)
    wait_s: float = field(default=60.0, kw_only=True)
    successes: int = field(default=3, kw_only=True)
    probes: int = field(default=1, kw_only=True)
    failure_statuses: tuple[int, ...] = field(default=(), kw_only=True)
    failure_grpc: tuple[int, ...] = field(default=_FAILING_GRPC, kw_only=True)
    late: Lenience = field(default="any", kw_only=True)
    neutral: Lenience = field(default="any", kw_only=True)
    reaction_s: float = field(default=0.02, kw_only=True)
    rules: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse numbers that are no breaker."""
        for name, value in (("failures", self.failures), ("successes", self.successes), ("probes", self.probes)):
            if value < 1:
                msg = f"CircuitBreaker: {name}={value}: must be 1 or more"
                raise ChaosError(msg)
        for name, seconds_ in (("wait_s", self.wait_s), ("reaction_s", self.reaction_s)):
            if seconds_ < 0:
                msg = f"CircuitBreaker: {name}={seconds_}: must be 0 s or more"
                raise ChaosError(msg)

    @total
    def check(self, history: History, /) -> Verdict:
        """Decide every rule."""
        found = Findings(history, self, self.link, _RULES)
        caller = self.link.partition(" -> ")[0]
        attempts = [one for one in history.on(self.link) if one.is_request]
        self._explain(found, history, sum(self._result(one, history) == "failure" for one in attempts))
        if any(node.name == caller and node.replicas > 1 for node in history.nodes):
            found.doubt(_RULES, f"{caller} has several replicas, each with a breaker of its own, behind one link")
            return found.verdict()
        refused = rejections(history, self.link)
        borders = [history.started_ns, *restarts(history, caller), history.ended_ns + ns(3600)]
        for begin, end in itertools.pairwise(borders):
            mine = [one for one in attempts if begin <= one.started_ns < end]
            turned = [one for one in refused if begin <= one.request.started_ns < end]
            self._life(found, history, mine, turned)
        return found.verdict()

    def _explain(self, found: Findings, history: History, failed: int) -> None:
        idle = unhit(history, self.link)
        if idle:
            found.missing(_RULES, idle)
            return
        tripped = (
            f"{failed} attempts on {self.link} failed, of {self.failures} in a row that it takes, and no call was "
            "seen to be rejected"
        )
        found.missing(("B1", "B2", "B3", "B7"), tripped)
        found.missing(
            ("B4",),
            f"no call that began while a probe was under way on {self.link} was rejected before the probe ended: go on "
            "calling while the probe is held",
        )
        found.missing(
            ("B5",),
            "nothing shows whether it closed: no probe failed and was followed by a rejection, and after the last "
            "good probe nothing failed "
            "(and went on) and no calls ran side by side",
        )
        found.missing(
            ("B6",),
            f"it was not seen to be closed after {self.successes} good probes: nothing failed (and went on) then, and "
            "no calls ran side by side",
        )

    def _life(self, found: Findings, history: History, attempts: list[Attempt], refused: list[Rejection]) -> None:
        """Judge one life of the caller: its breaker starts closed."""
        spec = Spec(
            failures=self.failures,
            wait_ns=ns(self.wait_s),
            successes=self.successes,
            probes=self.probes,
            late=self.late,
            neutral=self.neutral,
            slack_ns=slack_ns(history, 0) + skew_ns(history),
        )
        outcome = replay(spec, self._events(history, attempts, refused))
        known = {one.id: one for one in attempts}
        if outcome.exhausted:
            found.doubt(_RULES, "too many calls overlapped to say in which order the breaker saw them")
        elif outcome.witness is not None:
            broken, why = classify(outcome.witness, outcome.states)
            for rule in broken:
                found.fail(rule, f"{self.link}: {self._told(why)}", self._witness(outcome, known, refused))
        else:
            self._proved(found, outcome)
        for one in refused:
            self._rejection(found, history, one)

    def _events(self, history: History, attempts: list[Attempt], refused: list[Rejection]) -> list[Event]:
        skew = skew_ns(history) + ns(self.reaction_s)
        events: list[Event] = []
        known = bounds(history, attempts)
        for one in attempts:
            earliest, latest = known[one.id]
            low = min(max(one.started_ns - skew, earliest), one.started_ns)
            events.append(Event(kind="admit", low=low, high=one.started_ns, call=one.id))
            if one.ended_ns is not None:
                early = one.ended_ns - (skew if one.closed_by == "caller" else 0)
                high = max(min(one.ended_ns + skew, latest), early)
                events.append(
                    Event(kind="result", low=early, high=high, call=one.id, result=self._result(one, history))
                )
        for turned in refused:
            ended = end_ns(turned.request, history)
            events.append(Event(kind="reject", low=turned.request.started_ns, high=ended, call=turned.request.id))
        return events

    def _result(self, one: Attempt, history: History) -> Result:
        plain = self._plain_result(one)
        return "unknown" if plain == "success" and answered_otherwise(one, history) else plain

    def _plain_result(self, one: Attempt) -> Result:
        if one.error or one.ended_ns is None or (one.status is None and one.grpc_status is None):
            return "failure"
        if one.protocol == "grpc" and one.grpc_status is not None:
            return (
                "success" if one.grpc_status == 0 else "failure" if one.grpc_status in self.failure_grpc else "neutral"
            )
        status = one.status or 0
        if status in self.failure_statuses or (not self.failure_statuses and status >= 500):
            return "failure"
        return "success" if status < 400 else "neutral"

    def _told(self, why: str) -> str:
        wait = f"{self.wait_s:g} s wait, {self.probes} probe at a time"
        return f"{why} (declared: {self.failures} failures, {wait}, {self.successes} successes)"

    def _witness(self, outcome: Replay, known: dict[str, Attempt], refused: list[Rejection]) -> list[str]:
        event = outcome.witness
        told = [step.event.call for step in outcome.steps if step.event.kind != "result"][-_MOST_WITNESSES:]
        ids = list(dict.fromkeys([*told, *([event.call] if event else [])]))
        faults = with_faults([known[one] for one in ids if one in known])
        ops = [turned.op.id for turned in refused if turned.op and turned.request.id in ids]
        return [*ids, *faults, *ops]

    def _proved(self, found: Findings, outcome: Replay) -> None:
        """Say which rules an accepted run put to the test: by what was so in every order, not just in this one."""
        seen: _Seen = {(one.event.kind, one.event.call): one.event for one in outcome.steps}
        for step in outcome.steps:
            before, event = step.before, step.event
            if event.kind == "reject" and before.mode == "open":
                if not before.reopened:
                    found.hold(
                        "B1", f"it opened after {self.failures} failures: a call was then rejected without an attempt"
                    )
                    found.hold("B2", f"it rejected nothing before {self.failures} failures in a row")
                elif before.opened_high <= event.low:
                    found.hold(
                        "B5", f"a failed probe opened it again after {before.successes} of {self.successes} successes"
                    )
                found.hold("B3", f"nothing was admitted in the {self.wait_s:g} s that it was open")
            if event.kind == "reject" and before.mode == "half-open":
                surely = sum(_under_way(call, event, seen) for call, current in before.live if current)
                if surely >= self.probes:
                    found.hold("B4", f"while {self.probes} probe was under way the next call was rejected")
        if _stayed_closed(outcome.steps, self.probes, seen):
            found.hold("B5", f"after {self.successes} successful probes it let calls through as when closed")
            found.hold("B6", f"it closed again after {self.successes} successful probes")

    def _rejection(self, found: Findings, history: History, one: Rejection) -> None:
        name = one.request.operation
        ids = [one.request.id, *([one.op.id] if one.op else [])]
        if one.waited_ns > latest_ns(history, _REJECTION_NS):
            found.fail(
                "B7",
                f"{self.link}: {name} was rejected only after {seconds(one.waited_ns)} without an attempt on the wire",
                ids,
            )
        elif not one.distinguishable:
            shown = (
                f"gRPC status {one.request.grpc_status}"
                if one.request.grpc_status is not None
                else f"status {one.request.status}"
            )
            found.fail(
                "B7",
                f"{self.link}: {name} was rejected with {shown}; a rejection is 503 (UNAVAILABLE) with Retry-After",
                ids,
            )
        else:
            found.hold("B7", f"{name} was rejected within {seconds(one.waited_ns)}, with 503 and Retry-After")


def _under_way(call: str, other: Event, seen: _Seen) -> bool:
    """Whether a call had surely been admitted before another was decided, and surely not ended before that was told.

    A rejection just before the wait was over would fit an order in which it came after the probe, and show nothing.
    """
    ended = seen.get(("result", call))
    return seen[("admit", call)].high <= other.low and (ended is None or other.high <= ended.low)


def _stayed_closed(steps: tuple[Step, ...], probes: int, seen: _Seen) -> bool:
    """Whether it surely did after closing what only a closed breaker does: admit after a failure, or many at once."""
    failure: Event | None = None
    for step in steps:
        before, event = step.before, step.event
        if before.mode != "closed" or not before.closed_again:
            failure = None
        elif event.kind == "result" and step.after.failed > before.failed:
            failure = event
        elif event.kind == "admit":
            if failure is not None and failure.high <= event.low:
                return True
            if 1 + sum(_side_by_side(call, event, seen) for call, current in before.live if current) > probes:
                return True
    return False


def _side_by_side(call: str, admitted: Event, seen: _Seen) -> bool:
    """Whether the time of a call and that of the one just admitted surely have a moment in common."""
    ended, other = seen.get(("result", call)), seen.get(("result", admitted.call))
    return (ended is None or admitted.high <= ended.low) and (other is None or seen[("admit", call)].high <= other.low)
