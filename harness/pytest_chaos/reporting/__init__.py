"""Views of the journal, nothing else: the page, junit.xml, Jaeger's file, the terminal's message, GitHub's summary.

Nothing third-party is loaded before a report is written; ``write_reports`` is all that most callers need.
"""

from __future__ import annotations

from pathlib import Path

JOURNAL = "journal.jsonl"


def write_reports(journal_path: Path, out_dir: Path, *, jaeger_url: str = "") -> tuple[Path, ...]:
    """Write report.html, junit.xml and traces.jaeger.json of a journal into a folder; give their paths, the page first.

    ``jaeger_url`` is the address of a Jaeger that has the traces: the page then links into it.
    Raises ChaosError when the journal cannot be read.
    """
    from pytest_chaos.reporting import html, jaeger, junit  # noqa: PLC0415 - Jinja2 is loaded when a report is written
    from pytest_chaos.reporting.reading import read_run  # noqa: PLC0415

    run = read_run(journal_path)
    out_dir.mkdir(parents=True, exist_ok=True)
    written = {
        "report.html": html.render(run, jaeger_url=jaeger_url),
        "junit.xml": junit.render(run, jaeger_url=jaeger_url),
        "traces.jaeger.json": jaeger.render(run),
    }
    for name, text in written.items():
        # Whole or not at all: a reader never sees half a page, and a run that is killed leaves the last one.
        part = out_dir / f"{name}.part"
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(out_dir / name)
    return tuple(out_dir / name for name in written)
