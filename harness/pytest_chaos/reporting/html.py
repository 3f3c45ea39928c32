"""report.html: one self-contained page a run; no request leaves it, and no script is needed to read it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_chaos.model.journal import PartInUse
from pytest_chaos.reporting.cases import CaseView, view
from pytest_chaos.reporting.reading import Run

if TYPE_CHECKING:
    import jinja2

_ORDER = {"failed": 0, "error": 1, "inconclusive": 2, "skipped": 3, "passed": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """The whole page: tests in the order of how much they need to be looked at."""

    run: Run
    cases: tuple[CaseView, ...]
    verdict: str
    counts: tuple[tuple[str, int], ...]
    duration: str
    parts: tuple[PartInUse, ...]
    toxiproxy: int
    undone: int


def render(run: Run, *, jaeger_url: str = "") -> str:
    """Render the page."""
    environment = _environment()
    page = PageView(
        run=run,
        cases=tuple(
            view(case, run, jaeger_url=jaeger_url)
            for case in sorted(run.cases, key=lambda one: _ORDER.get(one.outcome, 5))
        ),
        verdict=_verdict(run),
        counts=tuple((outcome, run.counts[outcome]) for outcome in _ORDER if outcome in run.counts),
        duration="unknown" if run.duration_s is None else f"{run.duration_s:.1f} s",
        parts=run.record.parts,
        toxiproxy=sum(link.engine == "toxiproxy" for link in run.record.links),
        undone=sum(undo.ok for undo in run.undos),
    )
    return environment.get_template("report.html").render(page=page, script_hash=_script_hash(environment))


def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 - nothing third-party is loaded before a report is written

    return jinja2.Environment(
        loader=jinja2.PackageLoader("pytest_chaos.reporting", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _script_hash(environment: jinja2.Environment) -> str:
    """The digest under which the page's content security policy lets its own script run, and no other."""
    script = environment.get_template("report.js").render()
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _verdict(run: Run) -> str:
    """The run in one word, by its worst test."""
    counts = run.counts
    if counts.get("failed"):
        return "FAIL"
    if counts.get("error"):
        return "ERROR"
    if counts.get("inconclusive"):
        return "INCONCLUSIVE"
    return "PASS" if counts.get("passed") else "NOTHING RAN"
