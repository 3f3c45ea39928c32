"""What a benchmark gives: rows of medians with their spread, and how they look on a terminal of 80 columns."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_WIDTH = 80
_NAME, _VALUE, _SPREAD, _RATIO = 20, 12, 24, 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measure: medians in ``unit``, ours and each peer's; ``spread`` holds least and most, ours as ``ours``.

    Where rounds were measured in pairs, ``ours/NAME`` in it is that of the rounds' ratios.
    """

    measure: str
    unit: str
    ours: float
    peers: dict[str, float] = field(default_factory=dict)
    spread: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one benchmark found; ``notes`` are sentences for the reader of the table."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def row(
    measure: str,
    unit: str,
    ours: Sequence[float],
    peers: Mapping[str, Sequence[float]],
    *,
    digits: int = 1,
    paired: bool = False,
) -> Row:
    """Make a row of each contender's rounds; a contender without any is left out, ours without any is an error.

    ``paired``: the first of ours and the first of a peer's were measured one after the other, and so on.
    """
    if not ours:
        msg = f"{measure}: ours was never measured; a row without it says nothing"
        raise ValueError(msg)
    rounds = {"ours": ours} | {name: values for name, values in peers.items() if values}
    middle = {name: round(statistics.median(values), digits) for name, values in rounds.items()}
    spread = {name: [round(min(values), digits), round(max(values), digits)] for name, values in rounds.items()}
    if paired:
        for name, values in peers.items():
            ratios = [mine / its for mine, its in zip(ours, values, strict=True) if its]
            if ratios:
                spread[f"ours/{name}"] = [round(min(ratios), 2), round(max(ratios), 2)]
    return Row(measure=measure, unit=unit, ours=middle.pop("ours"), peers=middle, spread=spread)


def table(measured: Iterable[Measured]) -> str:
    """Render every row in lines of at most 80 columns, one line a contender, notes behind their rows."""
    head = f"{'':<{_NAME}}{'MEDIAN':>{_VALUE}}{'LEAST .. MOST':>{_SPREAD}}{'OURS/PEER':>{_RATIO}}"
    lines = [head, "-" * _WIDTH]
    for one in measured:
        for found in one.rows:
            lines += textwrap.wrap(f"{found.measure} [{found.unit}]", _WIDTH)
            lines += [_line(found, name, value) for name, value in {"ours": found.ours, **found.peers}.items()]
        for note in one.notes:
            lines += textwrap.wrap(note, _WIDTH, initial_indent="* ", subsequent_indent="  ")
        lines.append("")
    return "\n".join(lines)


def _line(found: Row, name: str, value: float) -> str:
    least, most = found.spread[name]
    ratio = f"{found.ours / value:.2f}" if name != "ours" and value else ""
    if ratios := found.spread.get(f"ours/{name}"):
        ratio += f" ({ratios[0]:.2f} .. {ratios[1]:.2f})"
    shown = textwrap.shorten(name, _NAME - 2, placeholder="..")
    between = f"{least:,} .. {most:,}"
    return f"  {shown:<{_NAME - 2}}{value:>{_VALUE},}{between:>{_SPREAD}}{ratio:>{_RATIO}}".rstrip()
