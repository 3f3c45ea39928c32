"""The active rules, and what they decide for one request: by seed, rules and what was counted before. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from pytest_chaos.model.fault import EVERYBODY, WireRule
from pytest_chaos.model.operations import pattern
from pytest_chaos.wire.kinds import Phase, phase_of
from pytest_chaos.wire.record import op_key as op_key_in


@dataclass(slots=True, kw_only=True, eq=False)
class Active:
    """An installed rule and what it did: matching requests ``seen``, ``hits`` among them, first and last hit in ns."""

    rule: WireRule
    schedule: str
    owner: str
    phase: Phase
    installed_ns: int = 0
    seen: int = 0
    hits: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    lifted: bool = False
    bytes: int = 0
    """How many bytes a byte fault acted on; its hits are connections."""
    by_op: dict[str, int] = field(default_factory=dict)

    def hit(self, at_ns: int) -> None:
        """Count one hit at a time."""
        self.hits += 1
        self.first_ns = at_ns if self.first_ns is None else self.first_ns
        self.last_ns = at_ns

    def touch(self, at_ns: int, size: int) -> None:
        """Count bytes that a byte fault acts on, on a connection that it has hit."""
        self.bytes += size
        self.last_ns = max(self.last_ns or 0, at_ns)


class Facts(NamedTuple):
    """What a decision may depend on: operation, protocol, headers (lower-case names), the logical operation."""

    operation: str = ""
    headers: Mapping[str, str] = MappingProxyType({})
    protocol: str = "http/1.1"
    op_key: str | None = None
    """None: what the headers say."""
    named: bool = False
    """Whether only rules that name its operation are about it: a poll, a heartbeat, a message that the callee sends."""
    answered: bool = True
    """Whether there will be an answer that something can happen to."""


class Decision(NamedTuple):
    """What was decided about one request (or connection) that a rule matches.

    A function of seed, rule, operation and ordinal within it (``ordinal``, from 1), but for rules that count the
    requests of the whole link or have a window. ``drawn`` is what chance said, where the rule asks it.
    """

    active: Active
    op_key: str
    ordinal: int
    hit: bool
    drawn: float | None
    delay_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do to a request: the rule that says so, and the delay in seconds drawn for it."""

    active: Active
    delay_s: float | None = None

    @property
    def kind(self) -> str:
        """The rule's kind."""
        return self.active.rule.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What happens to a request before it is forwarded, and to its answer; in the order of the rules' installation."""

    request: tuple[Step, ...] = ()
    response: tuple[Step, ...] = ()


NOTHING = Plan()
TCP_KINDS = frozenset({"reset", "hold", "latency", "truncate", "point"})
"""What can be done to a connection whose protocol wire does not read."""
FRAMED = frozenset({"amqp", "kafka", "resp"})
HEADLESS = FRAMED | {"tcp"}
FRAME_KINDS = TCP_KINDS | {"answer_lost"}
"""What can be done to a call of a broker's protocol."""
GRPC_KINDS = frozenset({"grpc_status", "grpc_abort"})
_KINDS_KEPT = 4096
"""Kinds of requests for which the rules that are about them are remembered."""
_OPS_KEPT = 65_536
"""Operations whose ordinals a rule remembers; one that was not heard of for so many others begins again at 1."""


class Table:
    """Schedules of rules, by id; ``seed`` makes the draws repeatable, ``clock`` (ns) opens and closes windows.

    ``log`` is told each decision.
    """

    def __init__(
        self, seed: int, *, clock: Callable[[], int] = lambda: 0, log: Callable[[Decision], None] | None = None
    ) -> None:
        self._seed = seed
        self._clock = clock
        self._log = log
        self._schedules: dict[str, list[Active]] = {}
        self._by_link: dict[str, list[Active]] = {}
        self._about: dict[tuple[str, str, str, bool, bool], list[Active]] = {}
        """Of a link's rules those that are about such requests, headers aside: found once for each kind of request."""
        self._counted: set[str] = set()

    def install(self, schedule: str, owner: str, rules: Sequence[WireRule]) -> list[Active]:
        """Put (checked) rules in force in place of the schedule's former ones; give those that this lifts."""
        lifted = self._schedules.pop(schedule, [])
        now = self._clock()
        self._schedules[schedule] = [
            Active(rule=rule, schedule=schedule, owner=owner, phase=phase_of(rule), installed_ns=now) for rule in rules
        ]
        self._index()
        return _lift(lifted)

    def uninstall(self, *, schedule: str | None = None, owner: str | None = None) -> list[Active]:
        """Lift a schedule, an owner's schedules, or (given neither) all; give the rules that are lifted."""
        lifted: list[Active] = []
        for name, actives in list(self._schedules.items()):
            chosen = (
                name == schedule if schedule is not None else owner is None or any(a.owner == owner for a in actives)
            )
            if chosen:
                lifted += self._schedules.pop(name)
        self._index()
        return _lift(lifted)

    def active(self, link: str | None = None) -> list[Active]:
        """List the rules in force, of one link or of all."""
        if link is not None:
            return list(self._by_link.get(link, ()))
        return [active for actives in self._schedules.values() for active in actives]

    def refuses(self, link: str) -> list[Active]:
        """List the rules that keep the link's listener closed."""
        return [active for active in self._by_link.get(link, ()) if active.phase == "listener"]

    def decide_connection(self, link: str) -> tuple[Step, ...]:
        """Count one connection of a link and tell what happens to it."""
        found = (
            self._decided(active, "")
            for active in self._by_link.get(link, ())
            if active.phase == "connection" and self._open(active)
        )
        return tuple(step for step in found if step is not None)

    def watched(self, link: str) -> bool:
        """Whether any rule is in force on the link: the fast path asks only this."""
        return link in self._by_link

    def counted(self, link: str) -> bool:
        """Whether a rule on the link wants to know of requests that have ended."""
        return link in self._counted

    def decide(self, link: str, facts: Facts) -> Plan:
        """Count one request of a link with every rule that it matches and tell what happens to it."""
        key = link, facts.operation, facts.protocol, facts.named, facts.answered
        about = self._about.get(key)
        if about is None:
            about = self._find(link, facts)
            if len(self._about) >= _KINDS_KEPT:
                self._about.clear()
            self._about[key] = about
        if not about:
            return NOTHING
        request: list[Step] = []
        response: list[Step] = []
        for active in about:
            if not _is_for(active.rule, facts.headers) or not self._open(active):
                continue
            step = self._decided(active, op_key_in(facts.headers) if facts.op_key is None else facts.op_key)
            if step is not None:
                (request if active.phase == "request" else response).append(step)
        return Plan(request=tuple(request), response=tuple(response)) if request or response else NOTHING

    def _find(self, link: str, facts: Facts) -> list[Active]:
        return [
            active
            for active in self._by_link.get(link, ())
            if active.phase in {"request", "response"} and _is_about(active.rule, facts)
        ]

    def _open(self, active: Active) -> bool:
        when = active.rule.when
        return not when.timed or when.within((self._clock() - active.installed_ns) / 1e9)

    def _decided(self, active: Active, op_key: str) -> Step | None:
        """Count one matching request and decide it."""
        when = active.rule.when
        active.seen += 1
        by_op = active.by_op
        ordinal = by_op[op_key] = by_op.pop(op_key, 0) + 1
        if len(by_op) > _OPS_KEPT:
            del by_op[next(iter(by_op))]
        drawn = None if when.probability is None else self._draw(active, op_key, ordinal, "hit")
        hit = when.hits(ordinal if when.per == "op" else active.seen, drawn or 0.0)
        delay_s = self._delay_s(active, op_key, ordinal) if hit else None
        if self._log is not None:
            self._log(Decision(active, op_key, ordinal, hit, drawn, delay_s))
        return Step(active=active, delay_s=delay_s) if hit else None

    def draws(self, active: Active, about: str) -> Callable[[int], float]:
        """Give the draws of a rule about something: a number in [0, 1) for each number, the same for the same seed."""
        start = f"{self._seed}|{active.rule.link}|{active.rule.id}|{about}"
        return lambda number: draw(f"{start}|{number}")

    def _delay_s(self, active: Active, op_key: str, ordinal: int) -> float | None:
        params = active.rule.params
        ms, jitter_ms = params.get("ms"), params.get("jitter_ms", 0)
        if ms is not None and jitter_ms:
            ms = max(0.0, ms + jitter_ms * (2 * self._draw(active, op_key, ordinal, "") - 1))
        return None if ms is None else ms / 1000

    def _draw(self, active: Active, op_key: str, ordinal: int, what: str) -> float:
        return draw(f"{self._seed}|{active.rule.link}|{active.rule.id}|{op_key}|{ordinal}{what and '|' + what}")

    def _index(self) -> None:
        self._by_link = {}
        self._about.clear()
        for active in self.active():
            self._by_link.setdefault(active.rule.link, []).append(active)
        self._counted = {active.rule.link for active in self.active() if active.rule.kind == "close_after_requests"}


def _lift(actives: list[Active]) -> list[Active]:
    for active in actives:
        active.lifted = True
    return actives


def draw(about: str) -> float:
    """Give a number in [0, 1) that depends on the text alone (BLAKE2b), the same on every machine."""
    return int.from_bytes(hashlib.blake2b(about.encode(errors="surrogatepass"), digest_size=7).digest(), "big") / 2**56


def matches(rule: WireRule, facts: Facts) -> bool:
    """Whether a request is one that the rule is about and that it can act on (a gRPC status is for gRPC calls only)."""
    return _is_about(rule, facts) and _is_for(rule, facts.headers)


def _is_for(rule: WireRule, headers: Mapping[str, str]) -> bool:
    for name, value in rule.headers.items():
        if headers.get(name.lower()) != value:
            return False
    return rule.whom is EVERYBODY or rule.whom.matches(headers)


def _is_about(rule: WireRule, facts: Facts) -> bool:
    """Whether all but the headers matches."""
    if (
        (rule.kind in GRPC_KINDS and facts.protocol != "grpc")
        or (rule.kind == "wrong_length" and facts.protocol == "grpc")
        or (facts.protocol == "tcp" and rule.kind not in TCP_KINDS)
        # Only a head that says a length can have it adjusted.
        or (facts.protocol in HEADLESS and rule.params.get("length") == "adjusted")
    ):
        return False
    if facts.protocol in FRAMED and not _matches_call(rule, facts):
        return False
    return not rule.operation or pattern(rule.operation).fullmatch(facts.operation) is not None


def _matches_call(rule: WireRule, facts: Facts) -> bool:
    """Whether a rule can act on a broker's call, and is about it where it must be named."""
    if rule.kind not in FRAME_KINDS or (facts.named and not rule.operation):
        return False
    # A call that nothing answers is done when it was handed on: a point is reached then.
    return facts.answered or phase_of(rule) != "response" or rule.kind == "point"
