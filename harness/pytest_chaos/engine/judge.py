"""From a History and what is promised to one judgement: who failed, what is undecided, what was not exercised."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from pytest_chaos.automata.unhit import why_unhit
from pytest_chaos.engine.tempering import tempered
from pytest_chaos.model.history import FaultRecord, History
from pytest_chaos.model.verdict import Checker, RuleResult, Verdict

Decision = Literal["held", "violated", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """All that was decided about one History. ``missing`` holds one sentence a reason to be INCONCLUSIVE."""

    history: History
    verdicts: tuple[Verdict, ...]
    failures: tuple[RuleResult, ...]
    missing: tuple[str, ...]
    not_exercised: tuple[str, ...]
    required: tuple[str, ...]
    named: tuple[Checker, ...]

    @property
    def decision(self) -> Decision:
        """A violation outweighs missing evidence; missing evidence outweighs everything that held."""
        if self.failures:
            return "violated"
        return "inconclusive" if self.missing else "held"


def bind(policy: Checker, link: str) -> Checker:
    """Give a policy that was declared on a link that link; one that has a link, or needs none, stays as it is."""
    if getattr(policy, "link", None) != "":
        return policy
    unbound: Any = policy
    return cast("Checker", dataclasses.replace(unbound, link=link))


def judge(
    history: History,
    *,
    named: Sequence[Checker],
    declared: Sequence[tuple[str, Checker]] = (),
    universal: Sequence[Checker] = (),
) -> Judgement:
    """Run every checker over a History and weigh the results.

    Named checkers must decide: all of their ``rules``, or at least one. Declared policies and universal rules run
    along and can only fail. With nothing named, something must have been decided by anything. A fault that hit
    nothing decides nothing. Where a part of the harness died meanwhile, nobody has failed and nothing is decided. Of a
    shared test's History only that stands which does not depend on other tests.
    """
    broken = tuple(f"{why}: what was seen then proves nothing about the system" for why in history.broken())
    asked = [(checker, tempered(run, checker, history)) for checker in named]
    along = [
        tempered(run, bind(policy, link), history)
        for link, policy in declared
        if not any(_same(bind(policy, link), checker) for checker in named)
    ]
    others = [checker for checker in universal if not any(_same(checker, other) for other in named)]
    along += [tempered(run, checker, history) for checker in others]
    verdicts = (*(verdict for _, verdict in asked), *along)
    failures = tuple(result for verdict in verdicts for result in verdict.results if result.outcome == "FAIL")
    missing = [*broken]
    missing += [unhit(fault, history) for fault in history.faults if fault.hits == 0]
    missing += _gone_around(history)
    for checker, verdict in asked:
        missing += _undecided(checker, verdict)
    if not named and not any(verdict.outcome == "PASS" for verdict in verdicts):
        missing.append(
            "nothing was decided: no rule of a declared policy and no universal rule met its evidence; "
            "name a checker in chaos.check(...)"
        )
    return Judgement(
        history=history,
        verdicts=verdicts,
        failures=() if broken else failures,
        missing=tuple(missing),
        not_exercised=_not_exercised(along),
        required=tuple(dict.fromkeys(rule for checker, _ in asked for rule in checker.rules)),
        named=tuple(named),
    )


def later(judgement: Judgement, before: Sequence[Judgement]) -> Judgement:
    """Leave of a test's last judgement, which nobody asked for, what those before it could not know.

    That is: failures that they did not tell, and faults after them that hit nothing.
    """
    told = {(one.rule, one.subject, one.message) for earlier in before for one in earlier.failures}
    known = {fault.id for earlier in before for fault in earlier.history.faults}
    faults = [fault for fault in judgement.history.faults if fault.hits == 0 and fault.id not in known]
    return dataclasses.replace(
        judgement,
        failures=tuple(one for one in judgement.failures if (one.rule, one.subject, one.message) not in told),
        missing=tuple(unhit(fault, judgement.history) for fault in faults),
        required=before[-1].required if before else (),
    )


def run(checker: Checker, history: History) -> Verdict:
    """Run one checker; its crash is INCONCLUSIVE with the traceback, never a pass and never a failure of the system."""
    try:
        return checker.check(history)
    except Exception as crash:  # noqa: BLE001 - a checker may be a third party's, and a crash must not look like a verdict
        trace = "".join(traceback.format_exception(crash))
        result = RuleResult(
            rule="*",
            outcome="INCONCLUSIVE",
            message=f"the checker crashed: {crash!r}",
            blame="harness",
            missing=trace[-2000:],
        )
        return Verdict(checker=type(checker).__name__, results=(result,))


def unhit(fault: FaultRecord, history: History) -> str:
    """Say that a fault touched nothing, what would have counted, and what may have hidden it."""
    params = ", ".join(f"{name}={value}" for name, value in fault.params.items())
    fault_is = f"the fault {fault.id} {fault.kind} on {fault.target} ({params})"
    if fault.engine == "toxiproxy-python":
        told = f"the {fault.kind} on {fault.target} ({params}), set through the toxiproxy fixture, is unproved"
        return f"{told}: nobody counted what it hit, so it proves nothing about the system; chaos.fault(...) counts"
    why = why_unhit(fault, history)
    return f"{fault_is} hit nothing: it proves nothing about the system{why and f' ({why})'}"


def _not_exercised(along: Sequence[Verdict]) -> tuple[str, ...]:
    told = sorted(
        {
            f"{result.rule} {verdict.subject}: {result.missing or result.message}".strip()
            for verdict in along
            for result in verdict.results
            if result.outcome == "INCONCLUSIVE"
        }
    )
    return tuple(told)


def _gone_around(history: History) -> list[str]:
    return [
        f"the fault {fault.id} {fault.kind} on {fault.target} did not act on all that passed there: {bypass}"
        for fault in history.faults
        for bypass in history.around
        if bypass.concerns(fault.target)
    ]


def _undecided(checker: Checker, verdict: Verdict) -> list[str]:
    name = verdict.checker
    if not checker.rules:
        if verdict.outcome != "INCONCLUSIVE":
            return []
        reasons = (
            "; ".join(dict.fromkeys(result.missing or result.message for result in verdict.results))
            or "it looked at nothing"
        )
        return [f"{name}{_of(verdict)} decided nothing: {reasons}"]
    undecided = []
    for rule in checker.rules:
        result = verdict.of(rule)
        if result is None:
            undecided.append(f"{name}{_of(verdict)} does not know the rule {rule}")
        elif result.outcome == "INCONCLUSIVE":
            undecided.append(f"{rule}{_of(verdict)} is undecided: {result.missing or result.message}")
    return undecided


def _of(verdict: Verdict) -> str:
    return f" ({verdict.subject})" if verdict.subject else ""


def _same(one: Checker, other: Checker) -> bool:
    return type(one) is type(other) and getattr(one, "link", None) == getattr(other, "link", None)
