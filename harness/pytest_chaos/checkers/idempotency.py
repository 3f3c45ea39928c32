"""Idempotency: however often a request is repeated, its effect happens once; judged at the effects' ledger."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

from pytest_chaos.automata.grouping import Call, Causes, group
from pytest_chaos.automata.ledger import rows
from pytest_chaos.automata.outcomes import with_faults
from pytest_chaos.automata.repetition import Repetition
from pytest_chaos.checkers import Findings, registry, total, unhit
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import History
from pytest_chaos.model.message import Effect
from pytest_chaos.model.op import Op
from pytest_chaos.model.topology import DRIVER
from pytest_chaos.model.verdict import Verdict

_RULES = ("I1", "I3", "I9")
_READS = ("GET ", "HEAD ", "OPTIONS ")
_BUSY = (409, 425, 429)
_MOST_WITNESSES = 16
_UNREPEATED = (
    "nothing was repeated: on the way to it no request that may have been worked on was sent again, "
    "and nothing was restarted"
)


@registry.register("Idempotency")
@dataclass(frozen=True, slots=True)
class Idempotency:
    """Each intent has at most ``max_effects`` effects in a ledger, whatever was lost, repeated or crashed.

    ``effects`` is a stub (``"acquirer"``), one operation of it (``"acquirer:POST /charges"``), or a ledger of a
    service's state (``"payments:charges"``). Decides I1 (effects per key, per marker and, with ``per_call``, per call
    of the driver), I3 (concurrent equal calls: one effect; each answer the result, 409 or a wait), I9 (one key on all
    attempts of an intent, another for another intent; on ``link``, which then must carry one, else on every link that
    does). Only what may have been worked on and was then repeated on the way to the ledger puts I1 to the test: a
    request that a fault turned away before its callee does not. Raises ChaosError on a bad value.
    """

    effects: str
    link: str | None = field(default=None, kw_only=True)
    max_effects: int = field(default=1, kw_only=True)
    per_call: bool = field(default=True, kw_only=True)
    rules: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what names no ledger."""
        if not self.effects or self.effects.startswith(":"):
            msg = f"Idempotency: effects={self.effects!r}: must name a node, 'node:ledger' or 'stub:POST /path'"
            raise ChaosError(msg)
        if self.max_effects < 1:
            msg = f"Idempotency: max_effects={self.max_effects}: must be 1 or more"
            raise ChaosError(msg)

    @total
    def check(self, history: History, /) -> Verdict:
        """Decide every rule."""
        found = Findings(history, self, self.effects, _RULES)
        effects = rows(history, self.effects)
        self._effects(found, history, effects)
        self._concurrent(found, history, effects)
        self._keys(found, history)
        return found.verdict()

    def _effects(self, found: Findings, history: History, effects: list[Effect]) -> None:
        idle = unhit(history)
        if not effects:
            found.missing(("I1",), idle or f"{self.effects} recorded no effect at all")
            return
        known = _Known(history)
        for identity, mine in known.identities(effects, per_call=self.per_call).items():
            count = sum(one.count for one in mine)
            name = " ".join(identity)
            if count > self.max_effects:
                found.fail(
                    "I1",
                    f"{self.effects}: {name} had {count} effects; allowed is {self.max_effects}",
                    known.witness(mine),
                )
            elif repeated := known.repeated(mine):
                found.hold("I1", f"{self.effects}: {name} had {count} effect although {repeated}")
            else:
                found.missing(("I1",), idle or _UNREPEATED)

    def _concurrent(self, found: Findings, history: History, effects: list[Effect]) -> None:
        found.missing(("I3",), "no two calls with one idempotency key were open at a time")
        known = _Known(history)
        by_key: dict[tuple[str, str], list[Op]] = {}
        for op in history.ops:
            if op.idempotency_key:
                by_key.setdefault((op.operation, op.idempotency_key), []).append(op)
        for (operation, key), ops in by_key.items():
            if not _overlap(ops):
                continue
            mine = [one for one in effects if (cause := known.op_of(one)) and cause in ops]
            bad = [op for op in ops if op.outcome == "fail" and op.status not in _BUSY]
            count = sum(one.count for one in mine)
            what = f"{len(ops)} concurrent {operation} under key {key!r}"
            if count > self.max_effects:
                found.fail(
                    "I3",
                    f"{what} had {count} effects; allowed is {self.max_effects}",
                    [*(op.id for op in ops), *known.witness(mine)],
                )
            elif bad:
                found.fail(
                    "I3",
                    f"{what}: one was answered {bad[0].status}; allowed are the result, 409 or a wait",
                    [op.id for op in ops],
                )
            else:
                found.hold("I3", f"{what} had {count} effect")

    def _keys(self, found: Findings, history: History) -> None:
        found.missing(
            ("I9",), f"nothing with an idempotency key was sent twice{' on ' + self.link if self.link else ''}"
        )
        links = (
            (self.link,)
            if self.link
            else tuple(dict.fromkeys(one.link for one in history.attempts if one.caller != DRIVER))
        )
        for link in links:
            calls = [call for call in group(history, link).calls if not call.operation.startswith(_READS)]
            for call in calls:
                self._one_key(found, call)
            _shared_keys(found, calls)

    def _one_key(self, found: Findings, call: Call) -> None:
        keys = {one.idempotency_key for one in call.attempts}
        if len(call.attempts) < 2 or (keys == {""} and not self.link):
            return
        if len(keys) == 1 and "" not in keys:
            found.hold("I9", f"the {len(call.attempts)} attempts of {call.name} carry one key, {min(keys)!r}")
        else:
            shown = "none" if keys == {""} else f"{len(keys)} different ones"
            found.fail(
                "I9",
                f"{call.link}: the {len(call.attempts)} attempts of {call.name} must carry one idempotency key; "
                f"they carry {shown}",
                with_faults(call.attempts),
            )


class _Known:
    """What is known of where effects come from."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._causes = Causes(history)
        self._attempts = {attempt.id: attempt for attempt in history.attempts}
        self._repetition = Repetition(history, self._causes)

    def op_of(self, effect: Effect) -> Op | None:
        """Give the op behind a stub's effect; a state row has none."""
        attempt = self._attempts.get(effect.attempt)
        return (self._causes.of(attempt) or self._causes.exclusive(attempt.started_ns)) if attempt else None

    def identities(self, effects: Iterable[Effect], *, per_call: bool) -> dict[tuple[str, str, str], list[Effect]]:
        """Group effects by marker, by key and by the intent of the driver's call: each must hold by itself."""
        found: dict[tuple[str, str, str], list[Effect]] = {}
        for effect in effects:
            what = effect.operation or effect.ledger
            if effect.marker:
                found.setdefault((what, "for marker", effect.marker), []).append(effect)
            if effect.key and effect.key != effect.marker:
                found.setdefault((what, "under key", effect.key), []).append(effect)
            op = self.op_of(effect) if per_call else None
            if op:
                found.setdefault((what, "caused by", op.idempotency_key or op.marker or op.id), []).append(effect)
            elif not effect.marker and not effect.key:
                found.setdefault((what, "of", "nobody known"), [effect])
        return found

    def repeated(self, effects: Iterable[Effect]) -> str:
        """Say what put these effects' being single to the test, or nothing."""
        mine = list(effects)
        ops = [op for op in map(self.op_of, mine) if op]
        known = ops if len(ops) == len(mine) else []
        return self._repetition.towards(mine[0].node, known)

    def witness(self, effects: Iterable[Effect]) -> list[str]:
        """List the effects, the requests that reached the ledger, and what happened upstream of them."""
        mine = list(effects)
        direct = [self._attempts[one.attempt] for one in mine if one.attempt in self._attempts]
        ops = {op.id for op in map(self.op_of, mine) if op}
        upstream: list[Attempt] = [
            one
            for one in self._history.attempts
            if one.faults and (cause := self._cause(one)) is not None and cause.id in ops
        ]
        links = {one.link for one in upstream}
        again = [
            one
            for one in self._history.attempts
            if one.link in links and (cause := self._cause(one)) is not None and cause.id in ops
        ]
        ids = [one.id for one in mine] + with_faults(direct) + with_faults(upstream) + with_faults(again)
        return list(dict.fromkeys([*sorted(ops), *ids]))[:_MOST_WITNESSES]

    def _cause(self, attempt: Attempt) -> Op | None:
        return self._causes.of(attempt) or self._causes.exclusive(attempt.started_ns)


def _overlap(ops: list[Op]) -> bool:
    begun = sorted(ops, key=lambda op: op.invoked_ns)
    return any(
        first.completed_ns is None or second.invoked_ns < first.completed_ns
        for first, second in itertools.pairwise(begun)
    )


def _shared_keys(found: Findings, calls: list[Call]) -> None:
    owner: dict[tuple[str, str], Call] = {}
    for call in calls:
        for key in {one.idempotency_key for one in call.attempts} - {""}:
            other = owner.setdefault((call.operation, key), call)
            if other is call or call.how != "marker" or other.how != "marker" or other.key == call.key:
                continue
            found.fail(
                "I9",
                f"{call.link}: the key {key!r} was used for two intents, {other.name} and {call.name}",
                with_faults((*other.attempts, *call.attempts)),
            )
