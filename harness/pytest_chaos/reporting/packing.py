"""Bars of one lane into rows: the attempts of one op in a row with their waits between them, overlapping ones below."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pytest_chaos.model.history import History
from pytest_chaos.reporting.moments import Moment

MAX_ROWS = 8
MAX_KEPT_ROWS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A moment with a length, on a row from 0. What never ended (``open``) ends with the test."""

    moment: Moment
    start_ns: int
    end_ns: int
    row: int = 0
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The gap before an attempt of one op was made again: the end of one to the first byte of the next, ns."""

    start_ns: int
    end_ns: int
    row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Bars and waits on ``rows`` rows; ``dropped`` bars found no row."""

    bars: tuple[Bar, ...]
    waits: tuple[Wait, ...]
    rows: int
    dropped: int


def chains(bars: Sequence[Moment], history: History) -> list[list[Bar]]:
    """Group attempts of one op that follow one another without overlap, in time order.

    One op on a link: same operation and same key (idempotency key or marker), else same correlation id, else
    the only op that the test made. Without any of these each attempt stands alone: no wait is drawn that nobody can
    vouch for.
    """
    found: list[list[Bar]] = []
    only_op = history.ops[0].id if len(history.ops) == 1 else ""
    latest: dict[tuple[str, str], list[list[Bar]]] = {}
    for moment in sorted(bars, key=lambda one: one.at_ns or 0):
        start = moment.at_ns or history.started_ns
        end = history.ended_ns if moment.end_ns is None else moment.end_ns
        bar = Bar(moment=moment, start_ns=start, end_ns=max(end, start), open=moment.end_ns is None)
        identity = (moment.operation, moment.key or moment.correlation or only_op)
        candidates = latest.setdefault(identity, []) if identity[1] and moment.kind == "attempt" else []
        chain = next((one for one in candidates if one[-1].end_ns <= start), None)
        if chain is None:
            chain = []
            found.append(chain)
            candidates.append(chain)
        chain.append(bar)
    return found


def pack(groups: Sequence[Sequence[Bar]], *, keep: Collection[str] = ()) -> Packed:
    """Give every chain the first row that is free for its whole length.

    Beyond MAX_ROWS only chains with a bar in ``keep`` get one, and none beyond MAX_KEPT_ROWS.
    """
    free: list[int] = []
    bars: list[Bar] = []
    waits: list[Wait] = []
    dropped = 0
    for group in groups:
        row = next((number for number, until in enumerate(free) if until <= group[0].start_ns), len(free))
        if row >= (MAX_KEPT_ROWS if any(bar.moment.id in keep for bar in group) else MAX_ROWS):
            dropped += len(group)
            continue
        if row == len(free):
            free.append(0)
        free[row] = group[-1].end_ns
        bars += [
            Bar(moment=bar.moment, start_ns=bar.start_ns, end_ns=bar.end_ns, row=row, open=bar.open) for bar in group
        ]
        waits += [
            Wait(start_ns=one.end_ns, end_ns=two.start_ns, row=row)
            for one, two in itertools.pairwise(group)
            if two.start_ns > one.end_ns and one.moment.outcome != "ok"
        ]
    return Packed(bars=tuple(bars), waits=tuple(waits), rows=max(len(free), 1), dropped=dropped)
