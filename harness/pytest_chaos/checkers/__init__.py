"""The checkers: pure functions of a History, one file a pattern; what they share is how findings become a verdict.

``registry`` finds every checker by its class name; ``universal()`` gives those that run along with every test.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterable
from typing import TypeVar

from pytest_chaos.errors import ChaosError
from pytest_chaos.model.history import History
from pytest_chaos.model.verdict import Blame, Checker, RuleResult, Severity, Verdict
from pytest_chaos.registry import Registry

registry: Registry[type[Checker]] = Registry("pytest_chaos.checkers")

_MAX_FAILS = 5
_SEVERITIES: dict[Severity, str] = {
    "money and data": "H2 I1 I3 G10 D1 R5 I9 D9 D12",
    "availability": "G1 G2 G4 G5 G6 G7 G8 D2 D3 D4 H1 T1 T2 T3 T4 T5 B1 B6 L4 N1 R10 R11",
    "overload": "R1 R4 R6 R7 R8 L1 B2 B3 B4 B5 B7 N2",
    "operability": "R2 R3 R9 X1 X2 X3 X4 X5 X6 X7 N4 G3",
}
_SEVERITY: dict[str, Severity] = {rule: severity for severity, rules in _SEVERITIES.items() for rule in rules.split()}

C = TypeVar("C")


def universal() -> tuple[Checker, ...]:
    """Give the checkers that need no declaration; they run along with every test and can only make it fail."""
    # Imported here: a room's package must not load its files by itself.
    from pytest_chaos.checkers.correlation import Crosstalk  # noqa: PLC0415
    from pytest_chaos.checkers.safe_resend import SafeResend  # noqa: PLC0415

    return (SafeResend(), Crosstalk())


def total(check: Callable[[C, History], Verdict]) -> Callable[[C, History], Verdict]:
    """Make a ``check`` total: an exception becomes INCONCLUSIVE with the traceback as what is missing."""

    @functools.wraps(check)
    def checked(self: C, history: History, /) -> Verdict:
        try:
            return check(self, history)
        except ChaosError:
            raise
        except Exception as crash:  # noqa: BLE001 - a crash must never look like a verdict about the system
            trace = "".join(traceback.format_exception(crash))[-2000:]
            result = RuleResult(
                rule="*",
                outcome="INCONCLUSIVE",
                message=f"the checker crashed: {crash!r}",
                blame="harness",
                missing=trace,
            )
            return Verdict(checker=type(self).__name__, subject=str(getattr(self, "link", "")), results=(result,))

    return checked


class Findings:
    """Collects what a checker finds, and weighs it by rule: a failure, a doubt, a pass, else what was missing."""

    def __init__(self, history: History, checker: object, subject: str, rules: Iterable[str]) -> None:
        self._history = history
        self._checker = type(checker).__name__
        self._subject = subject
        self._rules = tuple(rules)
        self._fails: dict[str, list[RuleResult]] = {}
        self._passes: dict[str, list[str]] = {}
        self._doubts: dict[str, list[str]] = {}
        self._missing: dict[str, list[str]] = {}

    def fail(self, rule: str, message: str, witness: Iterable[str], *, blame: Blame = "application") -> None:
        """A rule was broken; ``message`` is one sentence with numbers, ``witness`` the ids of what proves it."""
        result = RuleResult(
            rule=rule,
            outcome="FAIL",
            message=message,
            subject=self._subject,
            witness=self.in_time_order(witness),
            blame=blame,
            severity=_SEVERITY.get(rule, ""),
        )
        self._fails.setdefault(rule, []).append(result)

    def hold(self, rule: str, message: str) -> None:
        """A rule was put to the test somewhere and held."""
        self._passes.setdefault(rule, []).append(message)

    def doubt(self, rules: Iterable[str], why: str) -> None:
        """Evidence is incomplete, so that these rules cannot pass; they can still fail."""
        for rule in rules:
            self._doubts.setdefault(rule, []).append(why)

    def missing(self, rules: Iterable[str], why: str) -> None:
        """Nothing put these rules to the test, because of ``why``; something else still may."""
        for rule in rules:
            self._missing.setdefault(rule, []).append(why)

    def verdict(self) -> Verdict:
        """Weigh everything."""
        results: list[RuleResult] = []
        for rule in self._rules:
            results += self._weigh(rule)
        return Verdict(checker=self._checker, subject=self._subject, results=tuple(results))

    def in_time_order(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Sort ids of events by when they happened, each once."""
        times = event_times(self._history)
        return tuple(sorted(dict.fromkeys(one for one in ids if one), key=lambda one: (times.get(one, 0), one)))

    def _weigh(self, rule: str) -> list[RuleResult]:
        if rule in self._fails:
            return self._fails[rule][:_MAX_FAILS]
        reasons = self._doubts.get(rule, [])
        if not reasons and rule in self._passes:
            held = self._passes[rule]
            more = f" (and {len(held) - 1} more)" if len(held) > 1 else ""
            return [RuleResult(rule=rule, outcome="PASS", message=held[0] + more, subject=self._subject)]
        reasons = reasons or self._missing.get(rule, []) or ["nothing in this test put the rule to the test"]
        missing = "; ".join(dict.fromkeys(reasons))
        return [
            RuleResult(
                rule=rule,
                outcome="INCONCLUSIVE",
                message=f"{rule} is undecided",
                subject=self._subject,
                missing=missing,
            )
        ]


def event_times(history: History) -> dict[str, int]:
    """Map every event's id to when it happened, monotonic ns."""
    times = {attempt.id: attempt.started_ns for attempt in history.attempts}
    times |= {op.id: op.invoked_ns for op in history.ops}
    times |= {message.id: message.at_ns for message in history.messages}
    times |= {effect.id: effect.at_ns for effect in history.effects}
    times |= {event.id: event.at_ns for event in history.node_events}
    times |= {fault.id: fault.first_hit_ns or fault.installed_ns for fault in history.faults}
    return times | {span.span_id: span.received_ns for span in history.spans}


def unhit(history: History, *targets: str) -> str:
    """Say which faults on these links or nodes hit nothing, so that a rule was not put to the test; empty: none."""
    idle = [fault for fault in history.faults if fault.hits == 0 and (not targets or set(fault.places) & set(targets))]
    return "; ".join(f"the fault {fault.id} ({fault.kind} on {fault.target}) hit nothing" for fault in idle)
