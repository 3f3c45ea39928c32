"""A story in pixels: every x, y and label that the SVG template writes down, so that the template decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_chaos.model.history import FaultRecord
from pytest_chaos.reporting.moments import Moment, fault_label
from pytest_chaos.reporting.packing import Bar, Wait
from pytest_chaos.reporting.scale import Idle, Scale
from pytest_chaos.reporting.story import Lane, Story

WIDTH = 1200
GUTTER = 200
RIGHT = 16
ROW = 26
BAR = 16
BAND_ROW = 20
AXIS = 24
LANE_PAD = 7
_CHAR = 6.3
_MIN_BAR = 3.0
_BADGE = 9.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle with what is written in or beside it; ``title`` is the whole truth, shown on hover."""

    x: float
    y: float
    width: float
    height: float
    css: str = ""
    label: str = ""
    label_x: float = 0.0
    title: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One lane, drawn: ``marks`` are moments without a length."""

    y: float
    height: float
    name: str
    title: str
    odd: bool
    bars: tuple[Box, ...]
    waits: tuple[Box, ...]
    marks: tuple[Box, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One story, drawn.

    ``ticks`` are (x, milliseconds) of the axis; ``bands`` are fault windows, ``shades`` those on their own lane;
    ``breaks`` are the stretches that are not to scale.
    """

    width: int
    height: float
    top: float
    gutter: int
    ticks: tuple[tuple[float, str], ...]
    bands: tuple[Box, ...]
    shades: tuple[Box, ...]
    breaks: tuple[Box, ...]
    strips: tuple[Strip, ...]


def draw(story: Story) -> Drawing:
    """Lay a story out on WIDTH pixels."""
    scale = Scale(story, GUTTER, WIDTH - RIGHT)
    top = AXIS + BAND_ROW * len(story.faults) + 4
    strips: list[Strip] = []
    y = float(top)
    for position, lane in enumerate(story.lanes):
        strip = _strip(lane, y, story, scale, odd=position % 2 == 1)
        strips.append(strip)
        y += strip.height
    bands = tuple(_band(fault, AXIS + BAND_ROW * row, story, scale) for row, fault in enumerate(story.faults))
    shades = tuple(
        Box(x=band.x, y=strip.y, width=band.width, height=strip.height, css=band.css)
        for fault, band in zip(story.faults, bands, strict=True)
        for strip, lane in zip(strips, story.lanes, strict=True)
        if lane.name in fault.places or lane.name.partition(" -> ")[2].partition(".")[0] == fault.target
    )
    return Drawing(
        width=WIDTH,
        height=round(y + 6, 1),
        top=top,
        gutter=GUTTER,
        ticks=scale.ticks(),
        bands=bands,
        shades=shades,
        breaks=tuple(_break(one, top, y, scale) for one in scale.idle),
        strips=tuple(strips),
    )


def _strip(lane: Lane, y: float, story: Story, scale: Scale, *, odd: bool) -> Strip:
    rows = lane.rows
    marks, mark_rows = _marks(lane.ticks, y + LANE_PAD, story, scale)
    rows = max(rows, mark_rows)
    bars = _bars(lane.bars, y + LANE_PAD, story, scale)
    return Strip(
        y=y,
        height=rows * ROW + 2 * LANE_PAD - (ROW - BAR - 4),
        name=_short(lane.name, 30),
        title=lane.name,
        odd=odd,
        bars=bars,
        waits=tuple(_wait(wait, y + LANE_PAD + wait.row * ROW, scale, bars) for wait in lane.waits),
        marks=marks,
    )


def _bars(bars: Sequence[Bar], y: float, story: Story, scale: Scale) -> tuple[Box, ...]:
    drawn: list[Box] = []
    following: dict[int, float] = {}
    for bar in reversed(bars):
        x = scale.x(bar.start_ns)
        width = max(scale.x(bar.end_ns) - x, _MIN_BAR)
        number = story.numbers.get(bar.moment.id, 0)
        status = f"{bar.moment.operation} {bar.moment.status}" if bar.moment.kind == "op" else bar.moment.status
        until = following.get(bar.row, float(WIDTH))
        label, label_x = _label(
            (status, bar.moment.status, bar.moment.status.partition(" (")[0]), x, width, until, badge=bool(number)
        )
        following[bar.row] = x - (_BADGE if number else 0)
        css = f"b-{bar.moment.outcome or 'info'}{' open' if bar.open else ''}{' w' if number else ''}"
        drawn.append(
            Box(
                x=x,
                y=y + bar.row * ROW,
                width=round(width, 1),
                height=BAR,
                css=css,
                label=label,
                label_x=label_x,
                title=describe(bar.moment, story),
                number=number,
            )
        )
    return tuple(reversed(drawn))


def _label(texts: Sequence[str], x: float, width: float, until: float, *, badge: bool) -> tuple[str, float]:
    """The longest text that fits, within the bar or else beside it; nothing when none does."""
    inset = (_BADGE if badge else 0) + 4
    for text in texts:
        if text and len(text) * _CHAR + inset + 2 <= width:
            return text, round(x + inset, 1)
    beside = x + max(width, _BADGE if badge else 0) + 4
    for text in texts:
        if text and beside + len(text) * _CHAR <= until:
            return text, round(beside, 1)
    return "", 0.0


def _wait(wait: Wait, y: float, scale: Scale, bars: Sequence[Box]) -> Box:
    """A wait, its length in the middle of what the labels of the bars before it leave free."""
    x, end = scale.x(wait.start_ns), scale.x(wait.end_ns)
    length = f"{(wait.end_ns - wait.start_ns) / 1e6:.0f} ms"
    labels = [box.label_x + len(box.label) * _CHAR for box in bars if box.label and box.y == y and box.x <= x]
    free = max(x, *labels) if labels else x
    fits = [text for text in (f"wait {length}", length) if len(text) * _CHAR + 26 <= end - free]
    return Box(
        x=x,
        y=y + 3,
        width=round(end - x, 1),
        height=BAR - 6,
        css="wait",
        label=fits[0] if fits else "",
        label_x=round((free + end) / 2, 1),
        title=f"wait of {length} between two attempts",
    )


def _marks(ticks: Sequence[Moment], y: float, story: Story, scale: Scale) -> tuple[tuple[Box, ...], int]:
    """Marks from left to right; one that would lie on another's label goes a row down, up to four."""
    free = [0.0] * 4
    drawn: list[Box] = []
    for tick in sorted(ticks, key=lambda one: one.at_ns or 0):
        x = scale.x(tick.at_ns or story.from_ns)
        number = story.numbers.get(tick.id, 0)
        text = _short(_mark_text(tick, story), 52)
        room = len(text) * _CHAR + 24
        left = x + room > WIDTH
        start = x - room if left else x - _BADGE
        row = next((position for position, until in enumerate(free) if until <= start), None)
        label = text if row is not None else ""
        row = row if row is not None else min(range(4), key=free.__getitem__)
        free[row] = max(free[row], x + _BADGE + 4 if left or not label else x + room)
        drawn.append(
            Box(
                x=x,
                y=y + row * ROW,
                width=0,
                height=BAR,
                css=f"m-{tick.kind} m-{tick.status}" if tick.kind == "node" else f"m-{tick.kind}",
                label=label,
                label_x=round(x - 13 if left else x + 13, 1),
                title=describe(tick, story),
                number=number,
            )
        )
    rows = 1 + max((int((box.y - y) // ROW) for box in drawn), default=0)
    return tuple(drawn), rows


def _mark_text(tick: Moment, story: Story) -> str:
    parts = (tick.operation, tick.key if tick.kind == "message" else tick.note)
    if tick.kind == "effect":
        parts = (tick.status, f"{tick.key} {tick.note.partition(',')[0]}".strip())
    text = " ".join(part for part in parts if part)
    late = tick.at_ns is not None and tick.at_ns > story.to_ns
    return f"{text}, at {(tick.at_ns - story.origin_ns) / 1e6:,.0f} ms" if late and tick.at_ns is not None else text


def _break(idle: Idle, top: float, bottom: float, scale: Scale) -> Box:
    x, end = scale.x(idle.start_ns), scale.x(idle.end_ns)
    skipped_s = (idle.end_ns - idle.start_ns) / 1e9
    length = f"{skipped_s:.1f} s" if skipped_s >= 1 else f"{skipped_s * 1e3:.0f} ms"
    return Box(
        x=x,
        y=top,
        width=round(end - x, 1),
        height=round(bottom - top, 1),
        css="idle",
        label=length,
        label_x=round((x + end) / 2, 1),
        title=f"{length} in which nothing happened, not drawn to scale",
    )


def _band(fault: FaultRecord, y: float, story: Story, scale: Scale) -> Box:
    x = scale.x(fault.installed_ns)
    end = scale.x(story.to_ns if fault.lifted_ns is None else fault.lifted_ns)
    label = _short(
        f"{fault.id} {fault_label(fault)} on {fault.target}, {fault.hits} hit{'' if fault.hits == 1 else 's'}", 130
    )
    number = story.numbers.get(fault.id, 0)
    label_x = min(x + (_BADGE + 4 if number else 6), WIDTH - RIGHT - len(label) * _CHAR)
    return Box(
        x=x,
        y=y,
        width=round(max(end - x, _MIN_BAR), 1),
        height=BAND_ROW,
        css="hit" if fault.hits else "unhit",
        label=label,
        label_x=round(max(label_x, GUTTER + 4), 1),
        title=f"fault {label}",
        number=number,
    )


def describe(moment: Moment, story: Story) -> str:
    """One line with all that is known of a moment."""
    start = "?" if moment.at_ns is None else f"{(moment.at_ns - story.origin_ns) / 1e6:.1f}"
    end = (
        f" to {(moment.end_ns - story.origin_ns) / 1e6:.1f}"
        if moment.end_ns is not None and moment.at_ns is not None
        else ""
    )
    known = (
        moment.operation,
        moment.status,
        moment.key and f"key {moment.key}",
        moment.correlation and f"correlation {moment.correlation}",
        moment.note,
    )
    return f"{moment.id}: {start}{end} ms, {moment.place}: {', '.join(part for part in known if part)}"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
