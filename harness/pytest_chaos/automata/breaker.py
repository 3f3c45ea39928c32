"""Replay of a circuit breaker: does some order of what was seen agree with the declared automaton?

Every event has an interval in which it can have been decided. A run conforms iff some linear extension of that
interval order is accepted. The search goes forward over a set of hypotheses (state, events applied ahead); when the
event with the earliest deadline cannot be applied by any, that event is the witness. Events of one kind, outcome and
era are taken in the order of their deadlines (partial-order reduction), without which the sets explode.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Mode = Literal["closed", "open", "half-open"]
Result = Literal["success", "failure", "neutral", "unknown"]
"""``unknown``: what the caller took it for nobody can say, so that all of the others are accepted."""
Lenience = Literal["count", "ignore", "any"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that a breaker decided or learned in [low, high] (ns): admit, reject, or the result of a call."""

    kind: Literal["admit", "reject", "result"]
    low: int
    high: int
    call: str
    result: Result = "success"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """The declared automaton; times in ns.

    ``late``: what a result of an older era does; ``neutral``: what a neutral outcome does. ``ignore`` has no effect,
    ``count`` counts it in the current state (neutral: as a success), ``any`` accepts both.
    """

    failures: int
    wait_ns: int
    successes: int
    probes: int = 1
    late: Lenience = "any"
    neutral: Lenience = "any"
    slack_ns: int = 0


class State(NamedTuple):
    """One hypothesis about the breaker. ``live`` are the calls under way: (call, admitted in the current era)."""

    mode: Mode = "closed"
    failed: int = 0
    opened_low: int = 0
    opened_high: int = 0
    successes: int = 0
    live: frozenset[tuple[str, bool]] = frozenset()
    reopened: bool = False
    rejected: bool = False
    closed_again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One event of an accepted order, with the states before and after."""

    event: Event
    before: State
    after: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay found: an accepted order (``steps``), or the event that no hypothesis allows and the states it met.

    ``exhausted``: more than ``cap`` hypotheses; nothing is decided.
    """

    steps: tuple[Step, ...] = ()
    witness: Event | None = None
    states: tuple[State, ...] = ()
    exhausted: bool = False
    peak: int = 0


@dataclass(frozen=True, slots=True)
class _Trail:
    before: _Trail | None
    step: Step


_Hypothesis = tuple[State, frozenset[int]]


@dataclass(slots=True)
class _Search:
    spec: Spec
    events: Sequence[Event]
    cap: int
    widest: int
    overflow: bool = False
    peak: int = 1
    current: dict[_Hypothesis, _Trail | None] = field(default_factory=lambda: {(State(), frozenset()): None})

    def run(self) -> Replay:
        for position, event in enumerate(self.events):
            following: dict[_Hypothesis, _Trail | None] = {}
            for (state, ahead), trail in self.current.items():
                for hypothesis, longer in self._past(position, state, ahead, trail):
                    following.setdefault(hypothesis, longer)
            self.peak = max(self.peak, len(following))
            if self.overflow or len(following) > self.cap:
                return Replay(exhausted=True, peak=self.peak)
            if not following:
                states = tuple(dict.fromkeys(state for state, _ in self.current))
                steps = _steps(next(iter(self.current.values())))
                return Replay(witness=event, states=states, steps=steps, peak=self.peak)
            self.current = following
        return Replay(steps=_steps(next(iter(self.current.values()))), peak=self.peak)

    def _past(
        self, position: int, state: State, ahead: frozenset[int], trail: _Trail | None
    ) -> Iterator[tuple[_Hypothesis, _Trail | None]]:
        """Give every way to get past the event at ``position``, other events first where their intervals allow it."""
        seen: set[_Hypothesis] = set()
        stack: list[tuple[State, frozenset[int], _Trail | None]] = [(state, ahead, trail)]
        while stack:
            here, done, path = stack.pop()
            if (here, done) in seen:
                continue
            seen.add((here, done))
            if position in done:
                yield (here, done - {position}), path
                continue
            if len(seen) > self.cap:
                self.overflow = True
                return
            for candidate in self._candidates(position, here, done):
                event = self.events[candidate]
                for after in apply(self.spec, here, event):
                    step = Step(event=event, before=here, after=after)
                    stack.append((after, done | {candidate}, _Trail(path, step)))

    def _candidates(self, position: int, state: State, done: frozenset[int]) -> list[int]:
        deadline = self.events[position].high
        eras = dict(state.live)
        classes: dict[tuple[str, str, bool], int] = {}
        for index in range(position, len(self.events)):
            event = self.events[index]
            if event.high - self.widest > deadline:
                break  # sorted by deadline: nothing behind here can begin before the deadline
            if index in done or event.low > deadline:
                continue
            if event.kind == "result" and event.call not in eras:
                continue
            kind = (event.kind, event.result if event.kind == "result" else "", eras.get(event.call, True))
            classes.setdefault(kind, index)
        return list(classes.values())


def replay(spec: Spec, events: Sequence[Event], *, cap: int = 20_000) -> Replay:
    """Replay what was seen, starting closed; ``cap`` bounds the hypotheses. Events may be given in any order."""
    ordered = sorted(events, key=lambda event: (event.high, event.low, event.kind, event.call))
    widest = max((event.high - event.low for event in ordered), default=0)
    return _Search(spec, ordered, cap, widest).run()


def apply(spec: Spec, state: State, event: Event) -> list[State]:
    """Give the states that the automaton may be in after an event; empty: it forbids the event here."""
    if event.kind == "admit":
        return _admit(spec, state, event)
    if event.kind == "reject":
        return _reject(spec, state, event)
    return _result(spec, state, event)


def _admit(spec: Spec, state: State, event: Event) -> list[State]:
    live = state.live | {(event.call, True)}
    if state.mode == "closed":
        return [state._replace(live=live)]
    if state.mode == "open":
        if event.high < state.opened_low + spec.wait_ns - spec.slack_ns:
            return []
        return [
            state._replace(mode="half-open", successes=0, live=_aged(state.live) | {(event.call, True)}, rejected=False)
        ]
    probing = sum(current for _, current in state.live)
    return [state._replace(live=live)] if probing < spec.probes else []


def _reject(spec: Spec, state: State, event: Event) -> list[State]:
    if state.mode == "open":
        late = event.low > state.opened_high + spec.wait_ns + spec.slack_ns
        return [] if late else [state._replace(rejected=True)]
    if state.mode == "half-open" and sum(current for _, current in state.live) >= spec.probes:
        return [state._replace(rejected=True)]
    return []


def _result(spec: Spec, state: State, event: Event) -> list[State]:
    current = dict(state.live).get(event.call)
    if current is None:
        return []
    state = state._replace(live=state.live - {(event.call, current)})
    outcomes: list[State] = []
    if not current:
        if spec.late != "count":
            outcomes.append(state)
        if spec.late == "ignore" or state.mode == "open":
            return outcomes or [state]
    if event.result == "neutral":
        if spec.neutral != "count":
            outcomes.append(state)
        if spec.neutral == "ignore":
            return outcomes
    if event.result == "unknown":
        failed = dataclasses.replace(event, result="failure")
        return [*outcomes, state, _counted(spec, state, event), _counted(spec, state, failed)]
    return [*outcomes, _counted(spec, state, event)]


def _counted(spec: Spec, state: State, event: Event) -> State:
    if event.result == "failure":
        failed = state.failed + 1
        if state.mode == "half-open" or failed >= spec.failures:
            return _opened(state, event)
        return state._replace(failed=failed)
    if state.mode == "closed":
        return state._replace(failed=0)
    if state.successes + 1 >= spec.successes:
        return State(live=_aged(state.live), closed_again=True)
    return state._replace(successes=state.successes + 1)


def _opened(state: State, event: Event) -> State:
    return State(
        mode="open",
        opened_low=event.low,
        opened_high=event.high,
        live=_aged(state.live),
        reopened=state.mode == "half-open",
        successes=state.successes,
    )


def _aged(live: frozenset[tuple[str, bool]]) -> frozenset[tuple[str, bool]]:
    return frozenset((call, False) for call, _ in live)


def _steps(trail: _Trail | None) -> tuple[Step, ...]:
    steps: list[Step] = []
    while trail is not None:
        steps.append(trail.step)
        trail = trail.before
    return tuple(reversed(steps))
