"""The failure message of a test: the rule, one sentence, the witness, what was active, the logs, where to go on.

Fits 80 columns but for what must be copied whole (a path, a link, a word of the replay line). Plain text, no colours.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from pytest_chaos.model.history import FaultRecord, History
from pytest_chaos.model.journal import CaseRecord
from pytest_chaos.model.verdict import RuleResult, Verdict
from pytest_chaos.reporting.masking import mask_text
from pytest_chaos.reporting.moments import Moment, fault_label, fault_place, relative_ms, witness
from pytest_chaos.reporting.traces import TraceLink, trace_links
from pytest_chaos.reporting.weighing import active_faults, failures, grouped, latest_fault, missing_of, replay_line

WIDTH = 80
MAX_FAILURES = 5
MAX_WITNESS = 12
MAX_MISSING = 12
MAX_LOG_LINES = 6
MAX_LOGS = 4
_LABEL = 10
_CONTINUED = " \\"


def failure_message(
    history: History,
    verdicts: Sequence[Verdict] = (),
    *,
    missing: Sequence[str] = (),
    logs: Mapping[str, str] | None = None,
    report: str = "",
    jaeger_url: str = "",
    replay: str = "",
) -> str:
    """Say why a test failed or decided nothing.

    The failed rules of the verdicts are shown, the gravest first; ``missing`` are the reasons of an INCONCLUSIVE,
    ``logs`` the output by node,    ``report`` the path of report.html, ``replay`` the command that runs the test
    again.
    """
    gravest = failures(verdicts)
    lines: list[str] = []
    groups = grouped(gravest)
    told: dict[tuple[str, ...], str] = {}
    for result, also in groups[:MAX_FAILURES]:
        lines += [*_finding(result, also, history, told.setdefault(result.witness, result.rule)), ""]
    if len(groups) > MAX_FAILURES:
        rules = ", ".join(dict.fromkeys(one.rule for one, _ in groups[MAX_FAILURES:]))
        lines += [*_wrapped(f"{len(groups) - MAX_FAILURES} more failures, all in the report: {rules}"), ""]
    if missing:
        lines += [*_missing(missing, also=bool(gravest)), ""]
    lines += _logs(_touched(history, gravest, logs or {}))
    named = [one for result in gravest for one in result.witness]
    links = trace_links(history, named, jaeger_url)
    lines += _labelled("report", report)
    lines += _labelled("trace", _trace(links[0]) if links else "")
    lines += _replay(replay)
    return "\n".join(lines).rstrip()


def case_text(case: CaseRecord, *, seed: int, report: str = "", jaeger_url: str = "") -> str:
    """Say the same of a test in a journal; a test without a History gives its recorded message."""
    if case.history is None:
        return mask_text(case.message)
    return failure_message(
        case.history,
        case.verdicts,
        missing=missing_of(case),
        logs=case.logs,
        report=report,
        jaeger_url=jaeger_url,
        replay=replay_line(case, seed),
    )


def _finding(result: RuleResult, also: Sequence[str], history: History, told: str) -> Iterator[str]:
    """Say one finding; ``told``: the rule whose finding shows these events first."""
    yield from _wrapped(
        f"FAIL {result.rule}{f' on {result.subject}' if result.subject else ''}", indent="", then="     "
    )
    for sentence in (result.message, *also):
        yield from _wrapped(sentence, indent="  ")
    yield from _labelled("severity", result.severity)
    yield from _labelled("blame", result.blame)
    named = witness(history, result.witness)
    times = tuple(at for one in named if one.kind != "fault" for at in (one.at_ns, one.end_ns) if at is not None)
    active = active_faults(history, times)
    for fault in active:
        yield from _labelled("active", _fault(fault, history))
    if history.faults and not active:
        yield from _labelled("active", _inactive(latest_fault(history, min(times)), history))
    if named and told != result.rule:
        yield from _labelled("witness", f"the {len(named)} events of {told}, above")
    elif named:
        yield f"  witness   (ms since the test began; its end is at {relative_ms(history.ended_ns, history)})"
        yield from _witness(named, history)


def _inactive(before: FaultRecord | None, history: History) -> str:
    return f"no fault any more; the latest was {_fault(before, history)}" if before else "no fault yet"


def _trace(link: TraceLink) -> str:
    return link.url or f"{link.trace_id} {'in traces.jaeger.json' if link.spans else '(no span of it arrived)'}"


def _fault(fault: FaultRecord, history: History) -> str:
    until = "the end" if fault.lifted_ns is None else f"{relative_ms(fault.lifted_ns, history)} ms"
    hits = f"{fault.hits} hit{'' if fault.hits == 1 else 's'}"
    begins = relative_ms(fault.installed_ns, history)
    return f"{fault.id} {fault_label(fault)} on {fault_place(fault)}, {begins} to {until}, {hits}"


def _witness(named: Sequence[Moment], history: History) -> Iterator[str]:
    half = MAX_WITNESS // 2
    shown = list(enumerate(named, start=1))
    for number, one in shown if len(shown) <= MAX_WITNESS else shown[:half]:
        yield from _event(number, one, history)
    if len(shown) > MAX_WITNESS:
        yield f"      ... {len(shown) - MAX_WITNESS} more, all in the report ..."
        for number, one in shown[-half:]:
            yield from _event(number, one, history)


def _event(number: int, one: Moment, history: History) -> Iterator[str]:
    start = f"  {number:>3} {relative_ms(one.at_ns, history):>9}  "
    took = f"{(one.end_ns - one.at_ns) / 1e6:.1f} ms" if one.at_ns is not None and one.end_ns is not None else ""
    status = one.status if one.status != one.operation else ""
    parts = (f"{one.id:<4}", one.place, one.operation, status, took)
    yield from _wrapped("  ".join(part for part in parts if part), indent=start, then=" " * 21)
    more = ", ".join(part for part in (one.key and f"key {one.key}", one.note) if part)
    if more:
        yield from _wrapped(more, indent=" " * 21)


def _missing(missing: Sequence[str], *, also: bool) -> Iterator[str]:
    yield "Also undecided:" if also else "INCONCLUSIVE: this test proved less than it was asked to."
    for reason in missing[:MAX_MISSING]:
        yield from _wrapped(reason, indent="  - ", then="    ")
    if len(missing) > MAX_MISSING:
        yield f"  - ... and {len(missing) - MAX_MISSING} more reasons, all in the report"


def _touched(history: History, failed: Sequence[RuleResult], logs: Mapping[str, str]) -> dict[str, str]:
    """The logs of the nodes that the witness names first, then the others."""
    named = witness(history, tuple(one for result in failed for one in result.witness))
    places = " ".join(
        [
            *(one.place for one in named),
            *(result.subject for result in failed),
            *(place for fault in history.faults for place in fault.places),
        ]
    )
    order = sorted(logs, key=lambda node: node not in places.replace(".", " ").split())
    return {node: logs[node] for node in order if logs[node].strip()}


def _logs(logs: Mapping[str, str]) -> Iterator[str]:
    for node, text in list(logs.items())[:MAX_LOGS]:
        lines = mask_text(text[-20_000:]).splitlines()
        shown = lines[-MAX_LOG_LINES:]
        yield _cut(f"last {f'{len(shown)} log lines' if len(shown) > 1 else 'log line'} of {node}:")
        for line in shown:
            yield from textwrap.wrap(
                line, WIDTH, initial_indent="  | ", subsequent_indent="  |   ", max_lines=3, placeholder=" …"
            )
    if len(logs) > MAX_LOGS:
        yield _cut(f"logs of {', '.join(list(logs)[MAX_LOGS:])}: in the report")
    if logs:
        yield ""


def _replay(replay: str) -> Iterator[str]:
    """The command, broken between its words in the way that a shell reads."""
    try:
        words = [shlex.quote(word) for word in shlex.split(replay)]
    except ValueError:
        words = [replay]
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= WIDTH - _LABEL - 4:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    for position, line in enumerate(lines):
        label = f"  {'replay':<{_LABEL}}" if position == 0 else " " * (_LABEL + 4)
        yield f"{label}{mask_text(line)}{'' if position == len(lines) - 1 else _CONTINUED}"


def _labelled(label: str, text: str) -> Iterator[str]:
    if text:
        yield from _wrapped(text, indent=f"  {label:<{_LABEL}}", then=" " * (_LABEL + 2))


def _wrapped(text: str, *, indent: str = "", then: str | None = None) -> list[str]:
    return textwrap.wrap(
        mask_text(text),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if then is None else then,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _cut(line: str) -> str:
    line = mask_text(line).replace("\t", " ")
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"
