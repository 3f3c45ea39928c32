"""What was repeated, delivered again or crashed on the way to a ledger: only that can make two effects of one.

A request that was turned away before its callee and then sent again is worked on once: nothing was repeated there.
"""

from __future__ import annotations

from collections.abc import Collection

from pytest_chaos.automata.grouping import Call, Causes, group
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import History
from pytest_chaos.model.op import Op
from pytest_chaos.model.topology import DRIVER

_READS = ("GET ", "HEAD ", "OPTIONS ")


class Repetition:
    """The repetitions of one history."""

    def __init__(self, history: History, causes: Causes) -> None:
        self._history = history
        self._causes = causes
        links = dict.fromkeys(one.link for one in history.attempts)
        self._calls = [call for link in links for call in group(history, link).calls if _repeated(call)]

    def towards(self, node: str, ops: Collection[Op]) -> str:
        """Say what was repeated on the way to ``node`` for these ops (none known: for anything), or nothing."""
        way = self._upstream(node)
        driven = self._driven(ops)
        if driven:
            return driven
        for call in self._calls:
            if _node(call.attempts[0]) in way and (not ops or call.op is None or call.op in ops):
                return f"{call.operation} was sent {len(call.attempts)} times on {call.link}"
        again = self._delivered_again(way, ops)
        if again is not None:
            return f"{again.operation} was delivered to {again.callee} twice"
        return self._lost(way)

    def _upstream(self, node: str) -> set[str]:
        """List who works for a node's ledger: itself, who calls it, who calls those; brokers pass both ways."""
        callers: dict[str, set[str]] = {}
        for one in self._history.attempts:
            callers.setdefault(_node(one), set()).add(one.caller)
            if not one.is_request:
                callers.setdefault(one.caller, set()).add(_node(one))
        found, fresh = {node}, [node]
        while fresh:
            more = callers.get(fresh.pop(), set()) - found - {DRIVER}
            found |= more
            fresh += more
        return found

    def _driven(self, ops: Collection[Op]) -> str:
        """Whether the driver repeated its call under one key, and the first one reached its callee."""
        keys = [op.idempotency_key for op in self._history.ops if op.idempotency_key]
        for key in dict.fromkeys(op.idempotency_key for op in ops or self._history.ops):
            if not key or keys.count(key) < 2:
                continue
            sent = [one for one in self._history.attempts if one.caller == DRIVER and one.idempotency_key == key]
            if not sent or _worked_on_again(sent):
                return "the driver repeated its call"
        return ""

    def _delivered_again(self, way: set[str], ops: Collection[Op]) -> Attempt | None:
        """Find what a fault sent to a callee that had it from the caller already."""
        sent = {(one.link, one.operation, one.body_hash) for one in self._history.attempts if _reached(one, own=True)}
        return next(
            (
                one
                for one in self._history.attempts
                if _reached(one, own=False)
                and (one.link, one.operation, one.body_hash) in sent
                and _node(one) in way
                and (not ops or self._causes.of(one) in (None, *ops))
            ),
            None,
        )

    def _lost(self, way: set[str]) -> str:
        """Say which node went down that had been asked or had asked something by then."""
        for event in self._history.node_events:
            if event.event not in ("killed", "exited", "stopped") or event.node not in way:
                continue
            before = (one for one in self._history.attempts if one.started_ns < event.at_ns)
            if any(event.node in (one.caller, _node(one)) for one in before):
                return f"{event.node} was {event.event}"
        return ""


def _node(attempt: Attempt) -> str:
    return attempt.callee.partition(".")[0]


def _repeated(call: Call) -> bool:
    return not call.operation.startswith(_READS) and _worked_on_again(call.attempts)


def _worked_on_again(attempts: Collection[Attempt]) -> bool:
    """Whether one reached the callee after another one that may have had its effect."""
    reached = [one for one in attempts if one.forwarded_ns is not None or one.deferred]
    return any(one.effect != "none" for one in reached[:-1])


def _reached(attempt: Attempt, *, own: bool) -> bool:
    reached = attempt.forwarded_ns is not None and attempt.replayed is not own
    return reached and not attempt.operation.startswith(_READS)
