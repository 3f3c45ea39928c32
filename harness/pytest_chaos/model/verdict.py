"""What a checker answers: one result a rule, PASS, FAIL or INCONCLUSIVE; vacuity is never a pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pytest_chaos.model.history import History

RuleOutcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Blame = Literal["", "application", "client library", "mesh/proxy", "broker client", "harness", "unknown"]
Severity = Literal["", "money and data", "availability", "overload", "operability"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """One rule's decision about one history.

    ``message`` is one sentence with numbers. ``witness`` holds the ids of the events (attempts, ops, messages,
    effects, spans, faults, node events) that prove a FAIL, in time order. ``missing`` names the evidence that an
    INCONCLUSIVE rule lacked.
    """

    rule: str
    outcome: RuleOutcome
    message: str
    subject: str = ""
    witness: tuple[str, ...] = ()
    blame: Blame = ""
    severity: Severity = ""
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All that one checker decided.

    ``checker`` is its name, ``subject`` the link, ledger or broker that it looked at.
    """

    checker: str
    subject: str = ""
    results: tuple[RuleResult, ...] = ()

    @property
    def outcome(self) -> RuleOutcome:
        """FAIL if any rule failed, PASS if at least one passed, else INCONCLUSIVE."""
        outcomes = {result.outcome for result in self.results}
        if "FAIL" in outcomes:
            return "FAIL"
        return "PASS" if "PASS" in outcomes else "INCONCLUSIVE"

    def of(self, rule: str) -> RuleResult | None:
        """Give a rule's most telling result (FAIL, then INCONCLUSIVE, then PASS), or None."""
        found = [result for result in self.results if result.rule == rule]
        order: dict[str, int] = {"FAIL": 0, "INCONCLUSIVE": 1, "PASS": 2}
        return min(found, key=lambda result: order[result.outcome]) if found else None


@runtime_checkable
class Checker(Protocol):
    """A pure function of a History with its parameters as frozen fields; ``rules`` names those that must be decided."""

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that the caller requires; empty: at least one of all."""

    def check(self, history: History, /) -> Verdict:
        """Decide every rule this checker knows; total, deterministic, no I/O."""
