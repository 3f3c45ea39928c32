"""A run for GitHub Actions, as text: the job summary in Markdown, and one ``::error`` line a test that needs a look."""

from __future__ import annotations

import html
import re

from pytest_chaos.model.journal import CaseRecord
from pytest_chaos.reporting.moments import fault_label
from pytest_chaos.reporting.reading import Run
from pytest_chaos.reporting.weighing import failures, missing_of, replay_line, rows_of

MAX_ROWS = 100
MAX_CELL = 300
# What Markdown or HTML would read as markup in a table's cell; entities say the same and mean nothing.
_MARKUP = re.compile(r"[|`*_~\[\]\\@#:!<>&\"']")


def summary(run: Run) -> str:
    """The job summary: what failed and why, a table of all tests, how to run each failed one again."""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(run.counts.items())) or "nothing ran"
    dirty = " **DIRTY: something could not be undone.**" if run.dirty else ""
    lines = [f"## Chaos run {_cell(run.record.run_id)}", "", f"{counts}, seed {run.record.seed}.{dirty}", ""]
    lines += ["| verdict | test | rules | why | faults |", "|---|---|---|---|---|"]
    ordered = sorted(run.cases, key=lambda case: case.outcome in ("passed", "skipped"))
    lines += [_row(case) for case in ordered[:MAX_ROWS]]
    if len(ordered) > MAX_ROWS:
        lines.append(f"| | {len(ordered) - MAX_ROWS} more tests are in the report | | | |")
    for case in ordered[:MAX_ROWS]:
        if case.outcome in ("failed", "inconclusive"):
            again = html.escape(replay_line(case, run.record.seed))
            lines += [
                "",
                f"<details><summary>run {_cell(case.nodeid)} again</summary>",
                "",
                f"<pre>{again}</pre>",
                "</details>",
            ]
    return "\n".join(lines) + "\n"


def error_commands(run: Run) -> list[str]:
    """One workflow command a test that needs a look; each on one line, whatever the test said."""
    found = []
    for case in run.cases:
        if case.outcome in ("passed", "skipped"):
            continue
        rules = ", ".join(dict.fromkeys(result.rule for result in failures(case.verdicts)))
        title = f"{case.outcome.upper()}{f' {rules}' if rules else ''}: {case.nodeid.partition('::')[2] or case.nodeid}"
        file = case.nodeid.partition("::")[0]
        found.append(f"::error file={_property(file)},title={_property(title)}::{_data(_why(case))}")
    return found


def _row(case: CaseRecord) -> str:
    shown = "FAIL" if failures(case.verdicts) else "PASS"
    rules = dict.fromkeys(row.rule for row in rows_of(case) if row.outcome == shown)
    faults = (
        "; ".join(f"{fault_label(fault)} on {fault.target}, {fault.hits} hits" for fault in case.history.faults)
        if case.history
        else ""
    )
    return (
        f"| {case.outcome} | {_cell(case.nodeid)} | {_cell(', '.join(rules))} | {_cell(_why(case))} | {_cell(faults)} |"
    )


def _why(case: CaseRecord) -> str:
    failed = failures(case.verdicts)
    if failed:
        return failed[0].message
    if case.outcome == "passed":
        return ""
    return next(iter(missing_of(case)), case.message.partition("\n")[0])


def _cell(text: str) -> str:
    cut = text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", " ".join(cut.split()))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
