"""The story of a witness as data: which lanes, what on each, which faults, from when to when. No pixels here.

A lane is a link (attempts as bars, back-offs as waits between the attempts of one op), the driver (its ops), a node
(what happened to it), a broker's channel or a ledger (ticks). Huge histories are cut, and ``cut`` says what is not
shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_chaos.model.history import FaultRecord, History
from pytest_chaos.reporting.moments import Moment, moments, of_effect, of_message, of_node, of_op, witness
from pytest_chaos.reporting.packing import Bar, Wait, chains, pack

MAX_BARS = 240
MAX_LANES = 12
MAX_TICKS = 60
MAX_BANDS = 8
MAX_NUMBERED = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One horizontal strip, ``rows`` bars high; ``ticks`` are moments without a length."""

    name: str
    bars: tuple[Bar, ...] = ()
    waits: tuple[Wait, ...] = ()
    ticks: tuple[Moment, ...] = ()
    rows: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What is drawn, from ``from_ns`` to ``to_ns``; ``numbers`` counts the witness's moments from 1, by id."""

    from_ns: int
    to_ns: int
    origin_ns: int
    lanes: tuple[Lane, ...]
    faults: tuple[FaultRecord, ...]
    numbers: dict[str, int]
    cut: tuple[str, ...] = ()


def tell(history: History, ids: tuple[str, ...]) -> Story | None:
    """Tell the story of a witness, or of the whole test when ``ids`` is empty; None when nothing was recorded."""
    index = moments(history)
    named = [moment for moment in witness(history, ids, index) if moment.kind != "unknown"]
    if not any((history.attempts, history.ops, history.messages, history.node_events, history.effects)):
        return None
    start, end = _window(history, named)
    numbers = {moment.id: number for number, moment in enumerate(named[:MAX_NUMBERED], start=1)}
    cut: list[str] = []
    lanes = _lanes(history, index, named, (start, end), cut)
    active = [
        fault for fault in history.faults if fault.installed_ns < end and (fault.lifted_ns or history.ended_ns) > start
    ]
    if len(active) > MAX_BANDS:
        cut.append(f"{len(active) - MAX_BANDS} of {len(active)} fault windows are not drawn")
    if len(named) > MAX_NUMBERED:
        cut.append(f"{len(named) - MAX_NUMBERED} of the {len(named)} witness events carry no number")
    return Story(
        from_ns=start,
        to_ns=end,
        origin_ns=history.started_ns,
        lanes=lanes,
        faults=tuple(active[:MAX_BANDS]),
        numbers=numbers,
        cut=tuple(cut),
    )


def _window(history: History, named: Sequence[Moment]) -> tuple[int, int]:
    """The witness with a margin; without a witness all that happened."""
    told = [one for one in named if one.kind != "fault"]
    shown: Iterable[Moment] = told or moments(history).values()
    last = history.ended_ns
    # What a service says of its state is read after the test is over: it is no part of when things happened.
    states = {effect.id for effect in history.effects if effect.source == "state"}
    times = [
        (one.at_ns, last if one.end_ns is None and one.kind in ("attempt", "op") else one.end_ns or one.at_ns)
        for one in shown
        if one.at_ns is not None and one.id not in states
    ]
    if not times:
        return history.started_ns, max(last, history.started_ns + 1)
    first, final = min(at for at, _ in times), max(end for _, end in times)
    margin = max(min((final - first) // 12, 60_000_000), 5_000_000)
    start = max(first - margin, min(history.started_ns, first))
    return start, max(min(final + margin, max(last, final)), start + 1)


def _lanes(
    history: History, index: dict[str, Moment], named: Sequence[Moment], window: tuple[int, int], cut: list[str]
) -> tuple[Lane, ...]:
    wanted = {moment.id for moment in named}
    correlations = {moment.correlation for moment in named if moment.correlation}
    everything = not wanted

    def belongs(moment: Moment) -> bool:
        return everything or moment.id in wanted or moment.correlation in correlations

    ops = [moment for moment in map(of_op, history.ops) if belongs(moment) and _overlaps(moment, window)]
    links = _links(history, index, named, everything=everything)
    touched = {node for link in links for node in link.partition(".")[0].split(" -> ")} | {one.place for one in named}
    ticks = [moment for moment in map(of_node, history.node_events) if _in(moment, window) and moment.place in touched]
    ticks += [moment for moment in map(of_message, history.messages) if belongs(moment) and _in(moment, window)]
    nodes = {place.partition(" / ")[0] for place in touched}
    effects = [index.get(effect.id, of_effect(effect)) for effect in history.effects]
    ticks += [
        one for one in effects if one.id in wanted or (_in(one, window) and one.place.partition(" / ")[0] in nodes)
    ]
    ticks += [one for one in named if one.kind == "span" and _in(one, window)]
    ticks = _capped(ticks, wanted, MAX_TICKS, "node events, messages and effects", cut)
    bars = [
        index[attempt.id]
        for attempt in history.attempts
        if attempt.link in links and _overlaps(index[attempt.id], window)
    ]
    bars = _capped(bars, wanted, MAX_BARS, "attempts", cut)
    numbered = {moment.id for moment in named[:MAX_NUMBERED]}
    lanes = (
        [_bar_lane("driver", _capped(ops, wanted, MAX_BARS // 4, "ops", cut), history, numbered, cut)] if ops else []
    )
    lanes += [_bar_lane(link, [bar for bar in bars if bar.place == link], history, numbered, cut) for link in links]
    places = dict.fromkeys(tick.place for tick in sorted(ticks, key=lambda one: one.at_ns or 0))
    lanes += [Lane(name=place, ticks=tuple(tick for tick in ticks if tick.place == place)) for place in places]
    faulted = {place for fault in history.faults for place in fault.places}
    shown = [lane for lane in lanes if lane.bars or lane.ticks or lane.name in faulted]
    if len(shown) > MAX_LANES:
        names = ", ".join(lane.name for lane in shown[MAX_LANES:])
        cut.append(f"{len(shown) - MAX_LANES} of {len(shown)} lanes are not drawn: {names}"[:300])
    return tuple(shown[:MAX_LANES])


def _links(history: History, index: dict[str, Moment], named: Sequence[Moment], *, everything: bool) -> list[str]:
    """The links of the witness, those that faults were on, those that the witness's requests went on to."""
    first = [moment.place for moment in named if moment.kind == "attempt"]
    effects = {effect.id: effect.attempt for effect in history.effects if effect.attempt in index}
    first += [index[effects[moment.id]].place for moment in named if moment.id in effects]
    seen = {attempt.link for attempt in history.attempts}
    faulted = [place for fault in history.faults for place in fault.places if " -> " in place]
    correlations = {moment.correlation for moment in named if moment.correlation}
    related = [
        attempt.link
        for attempt in history.attempts
        if everything or (attempt.correlation_id in correlations and attempt.caller != "test")
    ]
    found = dict.fromkeys(link for link in (*first, *faulted, *related) if link in seen or link in faulted)
    # Read from left to right as the request travelled: the lane whose first attempt is earliest stands on top.
    order = {attempt.link: position for position, attempt in reversed(list(enumerate(history.attempts)))}
    kept = list(found)[:MAX_LANES]
    return sorted(kept, key=lambda link: order.get(link, len(history.attempts)))


def _bar_lane(name: str, bars: Sequence[Moment], history: History, keep: set[str], cut: list[str]) -> Lane:
    packed = pack(chains(bars, history), keep=keep)
    if packed.dropped:
        cut.append(f"{packed.dropped} of {len(bars)} overlapping attempts on {name} found no room")
    return Lane(name=name, bars=packed.bars, waits=packed.waits, rows=packed.rows)


def _capped(found: Sequence[Moment], wanted: set[str], most: int, what: str, cut: list[str]) -> list[Moment]:
    """Keep at most so many, those of the witness before all others, then the earliest."""
    if len(found) <= most:
        return list(found)
    kept = sorted(found, key=lambda moment: (moment.id not in wanted, moment.at_ns or 0))[:most]
    cut.append(f"{len(found) - most} of {len(found)} {what} are not drawn")
    return sorted(kept, key=lambda moment: moment.at_ns or 0)


def _in(moment: Moment, window: tuple[int, int]) -> bool:
    return moment.at_ns is not None and window[0] <= moment.at_ns <= window[1]


def _overlaps(moment: Moment, window: tuple[int, int]) -> bool:
    return (
        moment.at_ns is not None and moment.at_ns <= window[1] and (moment.end_ns is None or moment.end_ns >= window[0])
    )
