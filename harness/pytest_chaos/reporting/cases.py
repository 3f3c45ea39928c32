"""One test of the report as the templates need it: plain fields, every list capped, nothing left to decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_chaos.model.history import FaultRecord, History
from pytest_chaos.model.journal import CaseRecord, UndoRecord
from pytest_chaos.model.verdict import RuleResult
from pytest_chaos.reporting.drawing import Drawing, describe, draw
from pytest_chaos.reporting.moments import Moment, fault_label, fault_place, relative_ms, witness
from pytest_chaos.reporting.reading import Run
from pytest_chaos.reporting.story import Story, tell
from pytest_chaos.reporting.traces import TraceLink, trace_links
from pytest_chaos.reporting.weighing import RuleRow, anchor, failures, grouped, missing_of, replay_line, rows_of

MAX_FINDINGS = 6
MAX_WITNESS = 40
MAX_STEPS = 80
MAX_LOG_LINES = 20
MAX_LOG_CHARS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessRow:
    """One line of the witness table; ``at`` is milliseconds since the test began."""

    number: int
    id: str
    at: str
    took: str
    moment: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the story told downwards, for narrow screens. ``css`` names its looks."""

    at: str
    text: str
    css: str
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryView:
    """A story, drawn and told; ``span`` says which part of the test it shows."""

    drawing: Drawing
    steps: tuple[Step, ...]
    span: str
    cut: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One failed rule with its story and its witness; ``also`` says what else it found in the same events."""

    result: RuleResult
    also: tuple[str, ...]
    story: StoryView | None
    witness: tuple[WitnessRow, ...]
    cut: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRow:
    """One line of the table of faults. ``undo`` says how it ended; ``undone`` is False when something stayed."""

    fault: FaultRecord
    label: str
    place: str
    window: str
    hits: str
    undo: str
    undone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogView:
    """The last lines of one node's output; ``cut`` is how many stand before them."""

    node: str
    lines: tuple[str, ...]
    cut: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """One test."""

    case: CaseRecord
    anchor: str
    file: str
    name: str
    banner: str
    findings: tuple[Finding, ...]
    more_findings: int
    missing: tuple[str, ...]
    story: StoryView | None
    rules: tuple[RuleRow, ...]
    proved: tuple[str, ...]
    faults: tuple[FaultRow, ...]
    logs: tuple[LogView, ...]
    traces: tuple[TraceLink, ...]
    replay: str
    evidence: tuple[str, ...]


_BANNERS = {"passed": "PASS", "failed": "FAIL", "inconclusive": "INCONCLUSIVE", "error": "ERROR", "skipped": "SKIPPED"}


def view(case: CaseRecord, run: Run, *, jaeger_url: str = "") -> CaseView:
    """Prepare one test for the page."""
    failed = failures(case.verdicts)
    groups = grouped(failed)
    history = case.history
    file, _, name = case.nodeid.partition("::")
    rules = rows_of(case)
    return CaseView(
        case=case,
        anchor=anchor(case.nodeid),
        file=file,
        name=name or file,
        banner=_BANNERS.get(case.outcome, case.outcome.upper()),
        findings=tuple(_finding(result, also, history) for result, also in groups[:MAX_FINDINGS]),
        more_findings=len(groups[MAX_FINDINGS:]),
        missing=missing_of(case) if case.outcome != "passed" else (),
        story=_story(history, ()) if history and not failed else None,
        rules=rules,
        proved=tuple(dict.fromkeys(row.rule for row in rules if row.outcome == "PASS")),
        faults=tuple(_fault(fault, history, run.undos_of(case, fault)) for fault in history.faults) if history else (),
        logs=tuple(_log(node, text) for node, text in case.logs.items() if text.strip()),
        traces=trace_links(history, [one for result in failed for one in result.witness], jaeger_url)
        if history
        else (),
        replay=replay_line(case, run.record.seed),
        evidence=_evidence(history) if history else (),
    )


def _finding(result: RuleResult, also: tuple[str, ...], history: History | None) -> Finding:
    if history is None:
        return Finding(result=result, also=also, story=None, witness=(), cut=0)
    named = witness(history, result.witness)
    rows = tuple(
        WitnessRow(number=number, id=one.id, at=relative_ms(one.at_ns, history), took=_took(one), moment=one)
        for number, one in enumerate(named[:MAX_WITNESS], start=1)
    )
    return Finding(
        result=result, also=also, story=_story(history, result.witness), witness=rows, cut=len(named) - len(rows)
    )


def _story(history: History, ids: tuple[str, ...]) -> StoryView | None:
    story = tell(history, ids)
    if story is None:
        return None
    steps = _steps(story, history)
    cut = story.cut
    if len(steps) > MAX_STEPS:
        cut = (*cut, f"the list for narrow screens ends after {MAX_STEPS} of {len(steps)} events")
    whole = f"{relative_ms(history.ended_ns, history)} ms"
    span = (
        f"{relative_ms(story.from_ns, history)} to {relative_ms(story.to_ns, history)} ms of a test that took {whole}"
    )
    return StoryView(drawing=draw(story), steps=tuple(steps[:MAX_STEPS]), span=span, cut=cut)


def _steps(story: Story, history: History) -> list[Step]:
    told: list[tuple[int, Step]] = []
    for fault in story.faults:
        number = story.numbers.get(fault.id, 0)
        begins = f"fault {fault.id} begins: {fault_label(fault)} on {fault_place(fault)}"
        at = relative_ms(fault.installed_ns, history)
        told.append((fault.installed_ns, Step(at=at, text=begins, css="s-fault", number=number)))
        if fault.lifted_ns is not None:
            at = relative_ms(fault.lifted_ns, history)
            told.append((fault.lifted_ns, Step(at=at, text=f"fault {fault.id} is lifted", css="s-fault")))
    for lane in story.lanes:
        told += [(bar.start_ns, _step(bar.moment, f"b-{bar.moment.outcome}", story)) for bar in lane.bars]
        for wait in lane.waits:
            length = f"wait of {(wait.end_ns - wait.start_ns) / 1e6:.0f} ms on {lane.name}"
            told.append((wait.start_ns, Step(at=relative_ms(wait.start_ns, history), text=length, css="s-wait")))
        told += [(tick.at_ns or 0, _step(tick, f"m-{tick.kind}", story)) for tick in lane.ticks]
    return [step for _, step in sorted(told, key=lambda pair: pair[0])]


def _step(moment: Moment, css: str, story: Story) -> Step:
    at, _, text = describe(moment, story).partition(" ms, ")
    return Step(
        at=at.partition(": ")[2].partition(" to ")[0], text=text, css=css, number=story.numbers.get(moment.id, 0)
    )


def _took(moment: Moment) -> str:
    if moment.at_ns is None or moment.end_ns is None:
        return "open" if moment.kind in ("attempt", "op") else ""
    return f"{(moment.end_ns - moment.at_ns) / 1e6:.1f}"


def _fault(fault: FaultRecord, history: History, undos: Sequence[UndoRecord]) -> FaultRow:
    until = "never lifted" if fault.lifted_ns is None else f"{relative_ms(fault.lifted_ns, history)} ms"
    hits = f"{fault.hits}"
    if fault.first_hit_ns is not None:
        hits += f", {relative_ms(fault.first_hit_ns, history)} to {relative_ms(fault.last_hit_ns, history)} ms"
    failed = [undo for undo in undos if not undo.ok]
    undo = "; ".join(f"{one.action}: {one.error or 'not undone'}" for one in failed)
    if not failed:
        undo = "; ".join(
            f"{one.action} in {one.took_ms:.1f} ms{f', {one.proof}' if one.proof else ''}" for one in undos
        )
    return FaultRow(
        fault=fault,
        label=fault_label(fault),
        place=fault_place(fault),
        window=f"{relative_ms(fault.installed_ns, history)} ms to {until}",
        hits=hits,
        undo=undo or "no undo in the journal",
        undone=not failed and bool(undos),
    )


def _log(node: str, text: str) -> LogView:
    lines = text.splitlines()
    shown = tuple(
        line if len(line) <= MAX_LOG_CHARS else f"{line[:MAX_LOG_CHARS]}… ({len(line)} characters)"
        for line in lines[-MAX_LOG_LINES:]
    )
    return LogView(node=node, lines=shown, cut=len(lines) - len(shown))


def _evidence(history: History) -> tuple[str, ...]:
    """What the verdict stands on, one phrase each."""
    counts = (
        ("ops", history.ops),
        ("attempts", history.attempts),
        ("messages", history.messages),
        ("effects", history.effects),
        ("spans", history.spans),
    )
    found = [f"{len(items)} {what if len(items) != 1 else what[:-1]}" for what, items in counts]
    missing = (
        f"spans incomplete: {'; '.join(history.spans_missing)[:300]}" if history.spans_missing else "spans incomplete"
    )
    found.append("spans complete" if history.spans_complete else missing)
    if history.isolation == "shared":
        loose = f", nobody can say whose: {history.unattributed}" if history.unattributed else ""
        found.append(f"the test's own only, on a stack that others shared{loose}")
    found += [str(bypass) for bypass in history.around]
    found.append(f"tolerance {history.tolerance_ns / 1e6:g} ms, harness lag {history.lag_ns / 1e6:.1f} ms")
    return tuple(found)
