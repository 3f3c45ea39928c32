"""What a case record says, weighed for people: failures by severity, what is missing, which row each rule gets."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_chaos.automata.unhit import why_unhit
from pytest_chaos.model.history import FaultRecord, History
from pytest_chaos.model.journal import CaseRecord
from pytest_chaos.model.verdict import RuleResult, Verdict
from pytest_chaos.reporting.moments import fault_label, fault_place

RowOutcome = Literal["PASS", "FAIL", "INCONCLUSIVE", "not exercised"]
_SEVERITY = {"money and data": 0, "availability": 1, "overload": 2, "operability": 3, "": 4}
_ROWS: dict[str, int] = {"FAIL": 0, "INCONCLUSIVE": 1, "PASS": 2, "not exercised": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """One line of the table of rules."""

    rule: str
    outcome: RowOutcome
    subject: str
    checker: str
    sentence: str


def failures(verdicts: Sequence[Verdict]) -> tuple[RuleResult, ...]:
    """The failed rules, the gravest first, each with the subject that its verdict names."""
    found = [
        _with_subject(result, verdict) for verdict in verdicts for result in verdict.results if result.outcome == "FAIL"
    ]
    return tuple(sorted(dict.fromkeys(found), key=lambda result: _SEVERITY.get(result.severity, 4)))


def grouped(found: Sequence[RuleResult]) -> tuple[tuple[RuleResult, tuple[str, ...]], ...]:
    """Failures with the further sentences of the same rule about the same subject and witness: a story is told once.

    The first of each rule stands before the repeats, so that where few are shown many of one rule hide no other.
    """
    groups: dict[tuple[str, str, tuple[str, ...]], list[RuleResult]] = {}
    for result in found:
        groups.setdefault((result.rule, result.subject, result.witness), []).append(result)
    told = [(one, tuple(dict.fromkeys(result.message for result in more))) for one, *more in groups.values()]
    first = {group[0].rule: group for group in reversed(told)}
    return tuple(sorted(told, key=lambda group: first[group[0].rule] is not group))


def missing_of(case: CaseRecord) -> tuple[str, ...]:
    """Why a test decided less than it was asked to: faults that hit nothing, rules that lacked their evidence."""
    found = [unhit(fault, case.history) for fault in case.history.faults if not fault.hits] if case.history else []
    found += [
        f"{row.rule} {f'({row.subject}) ' if row.subject else ''}is undecided: {row.sentence}"
        for row in rows_of(case)
        if row.outcome == "INCONCLUSIVE"
    ]
    if case.history and case.history.unrest:
        found.append(f"the system had not come to rest: {', '.join(case.history.unrest)}")
    return tuple(found)


def unhit(fault: FaultRecord, history: History) -> str:
    """Say of a fault that it touched nothing, and what may have hidden what it was about."""
    why = why_unhit(fault, history)
    return (
        f"the fault {fault.id} {fault_label(fault)} on {fault_place(fault)} hit nothing: "
        f"it proves nothing about the system{why and f' ({why})'}"
    )


def rows_of(case: CaseRecord) -> tuple[RuleRow, ...]:
    """Every rule that was looked at, failed ones first, then undecided, passed, not exercised."""
    rows = [
        RuleRow(
            rule=result.rule,
            outcome=_row_outcome(case, verdict, result),
            subject=_with_subject(result, verdict).subject,
            checker=verdict.checker,
            sentence=result.missing or result.message if result.outcome == "INCONCLUSIVE" else result.message,
        )
        for verdict in case.verdicts
        for result in verdict.results
    ]
    return tuple(sorted(dict.fromkeys(rows), key=lambda row: (_ROWS[row.outcome], row.rule)))


def active_faults(history: History, witness_ns: tuple[int, ...]) -> tuple[FaultRecord, ...]:
    """The faults that were active between the first and the last of these instants (ns); all without instants."""
    if not witness_ns:
        return history.faults
    first, last = min(witness_ns), max(witness_ns)
    return tuple(
        fault
        for fault in history.faults
        if fault.installed_ns <= last and (fault.lifted_ns is None or fault.lifted_ns >= first)
    )


def latest_fault(history: History, before_ns: int) -> FaultRecord | None:
    """The fault that was lifted last before an instant (ns): what the system still suffers from when none is active."""
    lifted = [(fault.lifted_ns, fault) for fault in history.faults if fault.lifted_ns is not None]
    over = [(at, fault) for at, fault in lifted if at < before_ns]
    return max(over, key=lambda one: one[0])[1] if over else None


def anchor(nodeid: str) -> str:
    """The fragment under which a test stands in report.html: the same for the same test in every run."""
    return f"t-{hashlib.blake2b(nodeid.encode(errors='replace'), digest_size=5).hexdigest()}"


def replay_line(case: CaseRecord, seed: int) -> str:
    """The command that runs this test again, as the journal has it, else made from the seed."""
    return case.replay or f"pytest --chaos --chaos-seed={seed} {shlex.quote(case.nodeid)}"


def _row_outcome(case: CaseRecord, verdict: Verdict, result: RuleResult) -> RowOutcome:
    if result.outcome != "INCONCLUSIVE":
        return result.outcome
    # The judge lists what ran along unasked as `RULE subject: reason`; a named checker need not decide its other rules.
    along = f"{result.rule} {verdict.subject}: {result.missing or result.message}".strip() in case.not_exercised
    asked = result.rule in case.required or verdict.outcome == "INCONCLUSIVE"
    return "not exercised" if along or not asked else "INCONCLUSIVE"


def _with_subject(result: RuleResult, verdict: Verdict) -> RuleResult:
    if result.subject or not verdict.subject:
        return result
    return RuleResult(
        rule=result.rule,
        outcome=result.outcome,
        message=result.message,
        subject=verdict.subject,
        witness=result.witness,
        blame=result.blame,
        severity=result.severity,
        missing=result.missing,
    )
