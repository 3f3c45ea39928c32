"""The active rules, and what they decide for one request: by seed, rules and what was counted before. Pure."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_chaos.model.fault import WireRule
from pytest_chaos.wire.kinds import Phase, phase_of


@dataclass(slots=True, kw_only=True, eq=False)
class Active:
    """An installed rule and what it did: matching requests ``seen``, ``hits`` among them, first and last hit in ns."""

    rule: WireRule
    schedule: str
    owner: str
    phase: Phase
    seen: int = 0
    hits: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    lifted: bool = False
    by_op: dict[str, int] = field(default_factory=dict)

    def hit(self, at_ns: int) -> None:
        """Count one hit at a time."""
        self.hits += 1
        self.first_ns = at_ns if self.first_ns is None else self.first_ns
        self.last_ns = at_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a decision may depend on: operation, protocol, headers (lower-case names), the logical operation."""

    operation: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    protocol: str = "http/1.1"
    op_key: str = ""
    named: bool = False
    """Whether only rules that name its operation are about it: a poll, a heartbeat, a message that the callee sends."""
    answered: bool = True
    """Whether there will be an answer that something can happen to."""


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


class Table:
    """Schedules of rules, by id; ``seed`` makes the draws repeatable."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._schedules: dict[str, list[Active]] = {}
        self._by_link: dict[str, list[Active]] = {}

    def install(self, schedule: str, owner: str, rules: Sequence[WireRule]) -> list[Active]:
        """Put (checked) rules in force in place of the schedule's former ones; give those that this lifts."""
        lifted = self._schedules.pop(schedule, [])
        self._schedules[schedule] = [
            Active(rule=rule, schedule=schedule, owner=owner, phase=phase_of(rule)) for rule in rules
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
        steps = []
        for active in self._by_link.get(link, ()):
            if active.phase == "connection":
                active.seen += 1
                if active.rule.when.hits(active.seen):
                    steps.append(self._step(active, ""))
        return tuple(steps)

    def watched(self, link: str) -> bool:
        """Whether any rule is in force on the link: the fast path asks only this."""
        return link in self._by_link

    def decide(self, link: str, facts: Facts) -> Plan:
        """Count one request of a link with every rule that it matches and tell what happens to it."""
        request: list[Step] = []
        response: list[Step] = []
        for active in self._by_link.get(link, ()):
            if active.phase not in ("request", "response") or not matches(active.rule, facts):
                continue
            active.seen += 1
            ordinal = active.by_op[facts.op_key] = active.by_op.get(facts.op_key, 0) + 1
            if active.rule.when.hits(active.seen):
                step = self._step(active, f"{facts.op_key}|{ordinal}")
                (request if active.phase == "request" else response).append(step)
        return Plan(request=tuple(request), response=tuple(response)) if request or response else NOTHING

    def _step(self, active: Active, about: str) -> Step:
        params = active.rule.params
        ms, jitter_ms = params.get("ms"), params.get("jitter_ms", 0)
        if ms is not None and jitter_ms:
            ms = max(0.0, ms + jitter_ms * (2 * draw(f"{self._seed}|{active.rule.link}|{active.rule.id}|{about}") - 1))
        return Step(active=active, delay_s=None if ms is None else ms / 1000)

    def _index(self) -> None:
        self._by_link = {}
        for active in self.active():
            self._by_link.setdefault(active.rule.link, []).append(active)


def _lift(actives: list[Active]) -> list[Active]:
    for active in actives:
        active.lifted = True
    return actives


def draw(about: str) -> float:
    """Give a number in [0, 1) that depends on the text alone (BLAKE2b), the same on every machine."""
    return int.from_bytes(hashlib.blake2b(about.encode(errors="surrogatepass"), digest_size=7).digest(), "big") / 2**56


def matches(rule: WireRule, facts: Facts) -> bool:
    """Whether a request is one that the rule is about and that it can act on (a gRPC status is for gRPC calls only)."""
    if (rule.kind == "grpc_status" and facts.protocol != "grpc") or (
        facts.protocol == "tcp" and rule.kind not in TCP_KINDS
    ):
        return False
    if rule.operation and not pattern(rule.operation).fullmatch(facts.operation):
        return False
    return (facts.protocol not in FRAMED or _matches_call(rule, facts)) and all(
        facts.headers.get(name.lower()) == value for name, value in rule.headers.items()
    )


FRAMED = frozenset({"amqp", "kafka", "resp"})
FRAME_KINDS = TCP_KINDS | {"answer_lost"}
"""What can be done to a call of a broker's protocol."""


def _matches_call(rule: WireRule, facts: Facts) -> bool:
    """Whether a rule can act on a broker's call, and is about it where it must be named."""
    if rule.kind not in FRAME_KINDS or (facts.named and not rule.operation):
        return False
    return facts.answered or phase_of(rule) != "response"


@functools.lru_cache(maxsize=1024)
def pattern(operation: str) -> re.Pattern[str]:
    """Compile an operation pattern: ``*`` is anything within a path segment, ``**`` anything, `` | `` means or."""
    parts = re.split(r"(\*\*|\*| \| )", operation)
    known = {"**": ".*", "*": "[^/]*", " | ": "|"}
    return re.compile("".join(known.get(part, re.escape(part)) for part in parts), re.DOTALL)
