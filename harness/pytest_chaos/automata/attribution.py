"""Which of what was recorded is one test's own, where several tests share a stack.

A thing belongs to the test that it names, by trace id, correlation id or baggage (``model.whose``); a trace of its own
that a consumer began belongs to the test whose messages it links to; an effect to its request's; the end of a message
to the message's; a state row to whom its key or marker is known to be. What names nobody and came after the test's
first call may be anybody's: it is *unattributed*, and a rule whose decision depends on it is undecided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import Evidence
from pytest_chaos.model.message import Effect, Message
from pytest_chaos.model.op import Op
from pytest_chaos.model.span import Span
from pytest_chaos.model.topology import DRIVER
from pytest_chaos.model.whose import whose, whose_id, whose_trace

_MOST = 200
_MANY = "several"
"""Stands for the owner of what names more than one test."""


def split(test: str, ops: Sequence[Op], seen: Evidence, *, before: Sequence[Effect] = ()) -> tuple[Evidence, Evidence]:
    """Give what is the test's own (``test``: its 12 hex digits) and what may be, at most 200 things and a count.

    ``seen`` is everything since the test began (attempts that began earlier may be among it, as owners of effects);
    ``before`` the state rows at its beginning: one that stands unchanged is nobody's doing since.
    """
    if not ops:
        return Evidence(), Evidence()
    first_ns = min(op.invoked_ns for op in ops)
    owners = _Owners(test, ops, seen)
    attempts = [(one, owners.of_attempt(one)) for one in seen.attempts if one.started_ns >= first_ns]
    messages = [(one, owners.of_message(one)) for one in seen.messages if one.at_ns >= first_ns]
    unchanged = {_row(one) for one in before}
    effects = [
        (one, owners.of_effect(one))
        for one in seen.effects
        if (one.at_ns >= first_ns if one.source == "stub" else True)
    ]
    effects = [(one, who) for one, who in effects if who or one.source == "stub" or _row(one) not in unchanged]
    spans = [(one, owners.of_span(one)) for one in seen.spans]
    mine = Evidence(
        attempts=tuple(one for one, who in attempts if who == test),
        messages=tuple(one for one, who in messages if who == test),
        effects=tuple(one for one, who in effects if who == test),
        spans=tuple(one for one, who in spans if who == test),
    )
    # Of what a broker's client says only messages are judged, and of spans whose trace is nobody's, consumers'.
    return mine, _bounded(
        [one for one, who in attempts if who in ("", _MANY) and one.is_request],
        [one for one, who in messages if who in ("", _MANY)],
        [one for one, who in effects if who in ("", _MANY)],
        [one for one, who in spans if who in ("", _MANY) and one.kind == "consumer"],
    )


def _bounded(attempts: list[Attempt], messages: list[Message], effects: list[Effect], spans: list[Span]) -> Evidence:
    left = _MOST
    kept = []
    lists: tuple[Sequence[object], ...] = (attempts, messages, effects, spans)
    for found in lists:
        kept.append(min(left, len(found)))
        left -= kept[-1]
    return Evidence(
        attempts=tuple(attempts[: kept[0]]),
        messages=tuple(messages[: kept[1]]),
        effects=tuple(effects[: kept[2]]),
        spans=tuple(spans[: kept[3]]),
        more=sum(map(len, lists)) - sum(kept),
    )


class _Owners:
    """Gives the test that something belongs to; empty: nobody can say."""

    def __init__(self, test: str, ops: Sequence[Op], seen: Evidence) -> None:
        self._test = test
        # Ids that the test itself set name it only where no other test's call carries them too.
        others = [one for one in seen.attempts if one.caller == DRIVER and whose(one.request_headers) not in ("", test)]
        self._ids = {op.correlation_id for op in ops} - {one.correlation_id for one in others} - {""}
        self._traces = {op.trace_id: test for op in ops if op.trace_id}
        for one in others:
            self._traces.pop(one.trace_id, None)
        self._linked(seen.spans)
        self._attempts = {one.id: self.of_attempt(one) for one in seen.attempts}
        self._marked: dict[tuple[str, str], str] = {}
        for message in seen.messages:
            if message.event == "published" and message.marker:
                _claim(self._marked, (message.broker, message.marker), self._named(_context(message)))
        self._keys: dict[str, str] = {}
        for who, keys in self._claims(ops, seen):
            for key in keys:
                if key:
                    _claim(self._keys, key, who)

    def of_attempt(self, attempt: Attempt) -> str:
        return self._named(attempt.request_headers)

    def of_message(self, message: Message) -> str:
        return self._named(_context(message)) or self._marked.get((message.broker, message.marker), "")

    def of_effect(self, effect: Effect) -> str:
        if effect.source == "stub":
            return self._attempts.get(effect.attempt, "")
        texts = (effect.key, effect.marker, *effect.fields.values())
        named = {self._test if text in self._ids else whose_id(text) for text in texts} - {""}
        named |= {self._keys.get(text, "") for text in texts[:2]} - {""}
        return named.pop() if len(named) == 1 else _MANY if named else ""

    def of_span(self, span: Span) -> str:
        if any(self._trace(link.trace_id) == self._test for link in span.links):
            return self._test
        return self._trace(span.trace_id)

    def _named(self, headers: Mapping[str, str]) -> str:
        trace_id = headers.get("traceparent", "").partition("-")[2].partition("-")[0]
        return (
            whose(headers)
            or self._traces.get(trace_id, "")
            or (self._test if headers.get("x-correlation-id", "") in self._ids else "")
        )

    def _trace(self, trace_id: str) -> str:
        return whose_trace(trace_id) or self._traces.get(trace_id, "")

    def _linked(self, spans: Iterable[Span]) -> None:
        """Learn whose the traces are that only link to a test's."""
        found: dict[str, str] = {}
        for span in spans:
            if not self._trace(span.trace_id):
                for link in span.links:
                    _claim(found, span.trace_id, self._trace(link.trace_id))
        self._traces |= {trace: who for trace, who in found.items() if who != _MANY}

    def _claims(self, ops: Iterable[Op], seen: Evidence) -> Iterable[tuple[str, tuple[str, ...]]]:
        """Give what names logical operations, with whose they are."""
        for op in ops:
            yield self._test, (op.marker, op.idempotency_key)
        for attempt in seen.attempts:
            yield self._attempts[attempt.id], (attempt.marker, attempt.idempotency_key)
        for (_broker, marker), who in self._marked.items():
            yield who, (marker,)


def _claim(owners: dict[str, str] | dict[tuple[str, str], str], key: object, who: str) -> None:
    known: dict[object, str] = owners  # type: ignore[assignment]
    if who:
        known[key] = who if known.get(key, who) == who else _MANY


def _context(message: Message) -> dict[str, str]:
    found = {"x-correlation-id": message.correlation_id, "traceparent": message.traceparent}
    return found | {"baggage": message.headers.get("baggage", "")}


def _row(effect: Effect) -> tuple[object, ...]:
    return (effect.node, effect.ledger, effect.key, effect.marker, effect.amount_minor, effect.state, effect.count)
