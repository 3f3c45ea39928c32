"""junit.xml: one test case a record, with the verdict, the rules, the faults and the correlation ids as properties."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from pytest_chaos.model.journal import CaseRecord
from pytest_chaos.reporting.moments import fault_label
from pytest_chaos.reporting.reading import Run
from pytest_chaos.reporting.text import case_text
from pytest_chaos.reporting.weighing import failures, missing_of, rows_of

MAX_CORRELATIONS = 50
# XML 1.0 has no place for these, not even escaped; masking makes most of them visible before.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(run: Run, *, jaeger_url: str = "") -> str:
    """Render the file; an INCONCLUSIVE is a failure of type ``Inconclusive``, a broken set-up an error."""
    counts = run.counts
    totals = {
        "tests": str(len(run.cases)),
        "failures": str(counts.get("failed", 0) + counts.get("inconclusive", 0)),
        "errors": str(counts.get("error", 0)),
        "skipped": str(counts.get("skipped", 0)),
        "time": f"{sum(case.duration_s for case in run.cases):.3f}",
    }
    root = ET.Element("testsuites", {"name": "pytest-chaos", **totals})
    suite = ET.SubElement(
        root, "testsuite", {"name": "pytest-chaos", "timestamp": _clean(run.record.started), **totals}
    )
    _properties(
        suite,
        [
            ("chaos.run", run.record.run_id),
            ("chaos.seed", str(run.record.seed)),
            ("chaos.dirty", str(run.dirty).lower()),
        ],
    )
    for case in run.cases:
        _case(suite, case, run, jaeger_url)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, case: CaseRecord, run: Run, jaeger_url: str) -> None:
    file, _, name = case.nodeid.partition("::")
    classname = file.removesuffix(".py").replace("/", ".")
    known = {
        "classname": _clean(classname),
        "name": _clean(name or file),
        "file": _clean(file),
        "time": f"{case.duration_s:.3f}",
    }
    element = ET.SubElement(suite, "testcase", known)
    _properties(element, _known(case))
    failed = failures(case.verdicts)
    if case.outcome == "failed":
        sentence = f"{failed[0].rule}: {failed[0].message}" if failed else case.message
        _verdict(
            element, "failure", "Violation" if failed else "AssertionError", sentence, _text(case, run, jaeger_url)
        )
    elif case.outcome == "inconclusive":
        sentence = next(iter(missing_of(case)), case.message)
        _verdict(element, "failure", "Inconclusive", sentence, _text(case, run, jaeger_url))
    elif case.outcome == "error":
        _verdict(element, "error", "ChaosError", case.message, case.message)
    elif case.outcome == "skipped":
        _verdict(element, "skipped", "skipped", case.message, "")


def _text(case: CaseRecord, run: Run, jaeger_url: str) -> str:
    return case_text(case, seed=run.record.seed, jaeger_url=jaeger_url)


def _verdict(element: ET.Element, tag: str, kind: str, message: str, text: str) -> None:
    child = ET.SubElement(element, tag, {"type": kind, "message": _clean(message.partition("\n")[0][:500])})
    child.text = _clean(text) or None


def _known(case: CaseRecord) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = [("chaos.verdict", case.outcome)]
    found += [
        (f"chaos.rule.{row.rule}", f"{row.outcome}{f' on {row.subject}' if row.subject else ''}")
        for row in rows_of(case)
    ]
    if case.history:
        found += [
            ("chaos.fault", f"{fault.id} {fault_label(fault)} on {fault.target}: {fault.hits} hits")
            for fault in case.history.faults
        ]
        correlations = dict.fromkeys(op.correlation_id for op in case.history.ops if op.correlation_id)
        found += [("chaos.correlation_id", one) for one in list(correlations)[:MAX_CORRELATIONS]]
    return found


def _properties(parent: ET.Element, known: list[tuple[str, str]]) -> None:
    element = ET.SubElement(parent, "properties")
    for name, value in known:
        ET.SubElement(element, "property", {"name": _clean(name), "value": _clean(value)})


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
