"""Delivery: what a broker confirmed is processed once, in order, even if the consumer was away, crashed or failed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from pytest_chaos.automata.ledger import rows
from pytest_chaos.automata.multiset import balance
from pytest_chaos.checkers import Findings, registry, total, unhit
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.history import History
from pytest_chaos.model.message import POISON, Effect, Message
from pytest_chaos.model.verdict import Verdict

_RULES = ("D1", "D2", "D3", "D4", "D9", "D12")
_GONE = ("killed", "stopped", "exited")
_SHOWN = 5
_MODES = ("exactly-once-effect", "at-least-once")


@registry.register("Delivery")
@dataclass(frozen=True, slots=True)
class Delivery:
    """Every message that ``broker`` held on ``channel`` has its effect in ``effects``, joined by the marker.

    Decides D1 (none lost, unless dead-lettered), D2 (none made up), D3 (each effect once; ``at-least-once`` allows
    repeats), D4 (in order of publishing per key), D9 (also what was published while ``subscriber`` was down), D12
    (nothing acknowledged or committed without its effect). ``keys`` keeps messages whose key or routing key starts
    with one of them; what a ``PoisonMessage`` has put there is owed no effect; ``group`` restricts acknowledgements to
    a consumer group or queue. ``ordered``: whether messages of one key have an order; unless told, those in a partition
    have. Needs a disturbance: without a fault that hit, a node that went down or a message that was published twice
    nothing is decided. Raises ChaosError on a bad mode.
    """

    broker: str
    channel: str = ""
    effects: str = field(default="", kw_only=True)
    subscriber: str = field(default="", kw_only=True)
    mode: Literal["exactly-once-effect", "at-least-once"] = field(default="exactly-once-effect", kw_only=True)
    keys: tuple[str, ...] = field(default=(), kw_only=True)
    group: str = field(default="", kw_only=True)
    durable: bool = field(default=True, kw_only=True)
    ordered: bool | None = field(default=None, kw_only=True)
    rules: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what names no ledger and no mode."""
        if not self.effects:
            msg = "Delivery: effects='': must name the stub or ledger where processing shows, for example 'mailgate'"
            raise ChaosError(msg)
        if self.mode not in _MODES:
            msg = f"Delivery: mode={self.mode!r}: must be one of {', '.join(_MODES)}"
            raise ChaosError(msg)

    @total
    def check(self, history: History, /) -> Verdict:
        """Decide every rule."""
        found = Findings(history, self, f"{self.broker}/{self.channel}".rstrip("/"), _RULES)
        mine = [one for one in history.messages if one.broker == self.broker]
        published = [one for one in mine if one.event == "published" and self._wanted(one)]
        effects = [one for one in rows(history, self.effects) if one.marker]
        if not disturbed_by(history) and not _published_twice(published):
            why = "nothing disturbed the delivery: no fault hit, no node went down and no message was published twice"
            found.doubt(_RULES, unhit(history) or why)
        active = [fault.id for fault in history.faults if fault.lifted_ns is None and fault.hits]
        if active:
            found.doubt(("D1", "D9"), f"the faults {', '.join(active)} are still active: judge after they are lifted")
        if not published:
            found.doubt(_RULES, found_nothing(self.broker, self.channel))
            return found.verdict()
        self._multiset(found, history, published, effects, mine)
        self._order(found, published, effects)
        self._durable(found, history, published, effects)
        self._settled(found, published, effects, mine)
        return found.verdict()

    def _wanted(self, one: Message) -> bool:
        if (self.channel and self.channel != one.channel) or POISON in one.headers:
            return False
        return not self.keys or one.key.startswith(self.keys)

    def _multiset(
        self, found: Findings, history: History, published: list[Message], effects: list[Effect], mine: list[Message]
    ) -> None:
        markers = {one.marker for one in published}
        dead = {one.marker for one in mine if one.event == "dead"}
        result = balance(markers, [one.marker for one in effects for _ in range(one.count)], parked=dead & markers)
        self._lost(found, history, published, result.lost, mine)
        known = {one.marker for one in history.messages}  # other channels may have effects in the same ledger
        phantoms = [marker for marker in result.unexpected if marker not in known]
        if phantoms:
            ids = [one.id for one in effects if one.marker in phantoms]
            found.fail("D2", f"{len(phantoms)} effects in {self.effects} belong to no message: {_some(phantoms)}", ids)
        else:
            found.hold("D2", f"every effect in {self.effects} belongs to a message")
        counts = {marker: count for marker, count in result.doubled if marker in markers}
        if counts and self.mode == "exactly-once-effect":
            ids = [
                *_ids(published, counts),
                *(one.id for one in effects if one.marker in counts),
                *disturbed_by(history),
            ]
            first = min(counts)
            found.fail("D3", f"message {first} had {counts[first]} effects in {self.effects}; allowed is 1", ids)
        elif effects:
            found.hold("D3", f"no message had more effects in {self.effects} than {self.mode} allows")
        else:
            found.missing(("D3",), f"{self.effects} recorded no effect at all")

    def _lost(
        self, found: Findings, history: History, published: list[Message], lost: tuple[str, ...], mine: list[Message]
    ) -> None:
        number = len({one.marker for one in published})
        where = f"{self.broker}/{self.channel}".rstrip("/")
        if not lost:
            found.hold("D1", f"all {number} messages of {where} had their effect in {self.effects} or were put aside")
            return
        waiting = {one.marker: one.id for one in mine if one.event in ("unacked", "pending") and one.marker in lost}
        still = f" ({len(waiting)} still wait at the broker)" if waiting else ""
        message = f"{where}: {len(lost)} of {number} messages had no effect in {self.effects}{still}: {_some(lost)}"
        found.fail("D1", message, [*_ids(published, lost), *waiting.values(), *disturbed_by(history)])

    def _order(self, found: Findings, published: list[Message], effects: list[Effect]) -> None:
        first: dict[str, Effect] = {}
        for effect in sorted(effects, key=lambda one: one.at_ns):
            first.setdefault(effect.marker, effect)
        by_key: dict[str, list[Message]] = {}
        for one in published:
            if one.key and (self.ordered or (self.ordered is None and one.partition is not None)):
                by_key.setdefault(f"{one.channel} {one.key}", []).append(one)
        found.missing(("D4",), "no two messages whose order counts (one key, one partition) were processed")
        for messages in by_key.values():
            ranked = sorted(messages, key=lambda one: (one.offset if one.offset is not None else one.at_ns, one.at_ns))
            # A message that is there again was processed when it was there first.
            once = {message.marker: message for message in reversed(ranked)}
            done = [
                (message, first[message.marker])
                for message in ranked
                if message.marker in first and once[message.marker] is message
            ]
            for (earlier, before), (later, after) in itertools.pairwise(done):
                if after.at_ns < before.at_ns:
                    found.fail(
                        "D4",
                        f"{self.broker}: {later.marker} was processed before {earlier.marker}, which has the same "
                        "key and came first",
                        (earlier.id, later.id, after.id, before.id),
                    )
                else:
                    found.hold("D4", f"messages with key {earlier.key!r} were processed in order of publishing")

    def _durable(self, found: Findings, history: History, published: list[Message], effects: list[Effect]) -> None:
        if not self.subscriber or not self.durable:
            found.missing(("D9",), "no durable subscriber is declared")
            return
        away = absences(history, self.subscriber)
        missed = [one for one in published if any(start <= one.at_ns < end for start, end in away)]
        if not missed:
            found.missing(("D9",), f"nothing was published while {self.subscriber} was down")
            return
        done = {one.marker for one in effects}
        lost = [one for one in missed if one.marker not in done]
        if lost:
            found.fail(
                "D9",
                f"{len(lost)} of {len(missed)} messages published while {self.subscriber} was down were never "
                "processed: "
                f"{_some(one.marker for one in lost)}",
                [
                    *(one.id for one in lost),
                    *(event.id for event in history.node_events if event.node == self.subscriber),
                ],
            )
        else:
            found.hold(
                "D9", f"all {len(missed)} messages published while {self.subscriber} was down were processed afterwards"
            )

    def _settled(self, found: Findings, published: list[Message], effects: list[Effect], mine: list[Message]) -> None:
        markers = {one.marker for one in published}
        done = {one.marker for one in effects} | {one.marker for one in mine if one.event == "dead"}
        settled = [
            one
            for one in mine
            if one.event == "settled" and one.marker in markers and self.group in ("", one.group, one.channel)
        ]
        found.missing(("D12",), f"{self.broker} told of no acknowledgement or commit")
        for one in settled:
            if one.marker not in done:
                found.fail(
                    "D12",
                    f"{self.broker}: message {one.marker} was acknowledged or committed past, and had no effect in "
                    f"{self.effects}",
                    [*_ids(published, (one.marker,)), one.id],
                )
            else:
                found.hold("D12", f"what was acknowledged had its effect in {self.effects} ({len(settled)} messages)")


def found_nothing(broker: str, channel: str) -> str:
    """Say that a channel was silent."""
    return f"no message was seen on {broker}{'/' + channel if channel else ''}"


def absences(history: History, node: str) -> list[tuple[int, int]]:
    """List when a node was down, (from, to) in ns; to the end of the history where it did not come back."""
    found: list[tuple[int, int]] = []
    since: int | None = None
    for event in sorted(history.node_events, key=lambda one: one.at_ns):
        if event.node != node:
            continue
        if event.event in _GONE and since is None:
            since = event.at_ns
        elif event.event == "ready" and since is not None:
            found.append((since, event.at_ns))
            since = None
    return found if since is None else [*found, (since, history.ended_ns)]


def disturbed_by(history: History) -> list[str]:
    """List the faults that hit and the deaths of nodes."""
    return [fault.id for fault in history.faults if fault.hits] + [
        event.id for event in history.node_events if event.event in (*_GONE, "paused")
    ]


def _published_twice(published: Iterable[Message]) -> bool:
    """Whether a channel was given one message twice: its consumers were to see to it that it had one effect."""
    named = [(one.channel, one.marker) for one in published if one.marker]
    return len(set(named)) < len(named)


def _ids(published: Iterable[Message], markers: Iterable[str]) -> list[str]:
    wanted = set(markers)
    return [one.id for one in published if one.marker in wanted]


def _some(markers: Iterable[str]) -> str:
    listed = list(markers)
    return ", ".join(listed[:_SHOWN]) + (", ..." if len(listed) > _SHOWN else "")
