"""A violation outweighs missing evidence, missing evidence outweighs what held, and nothing decided is never a pass."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pytest_chaos.engine.judge import judge, later
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.history import FaultRecord, History, NodeEvent
from pytest_chaos.model.verdict import RuleOutcome, RuleResult, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class _Says:
    """A checker that says what it is told to."""

    outcomes: tuple[tuple[str, RuleOutcome], ...]
    rules: tuple[str, ...] = ()
    link: str = ""

    def check(self, _history: History, /) -> Verdict:
        results = tuple(
            RuleResult(rule=rule, outcome=outcome, message=f"{rule} said") for rule, outcome in self.outcomes
        )
        return Verdict(checker="Says", results=results, subject=self.link)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crashes:
    rules: tuple[str, ...] = ()

    def check(self, _history: History, /) -> Verdict:
        message = "boom"
        raise RuntimeError(message)


def _history(*faults: FaultRecord) -> History:
    return History(test="t", started_ns=0, ended_ns=1, faults=faults)


def _fault(hits: int) -> FaultRecord:
    return FaultRecord(id="f1", kind="AnswerLost", target="a -> b", installed_ns=0, hits=hits)


PASS, FAIL, OPEN = ("R1", "PASS"), ("R1", "FAIL"), ("R1", "INCONCLUSIVE")


def test_a_named_checker_that_decides_holds() -> None:
    assert judge(_history(), named=[_Says(outcomes=(PASS,))]).decision == "held"


def test_a_named_checker_that_decides_nothing_is_inconclusive() -> None:
    assert judge(_history(), named=[_Says(outcomes=(OPEN,))]).decision == "inconclusive"
    assert judge(_history(), named=[_Says(outcomes=())]).decision == "inconclusive"


def test_a_fault_that_hit_nothing_says_where_nothing_could_be_read() -> None:
    told = {"link": "a -> b", "reused": False, "connected_ns": 0, "started_ns": 0, "ended_ns": 1}
    attempts = tuple(
        Attempt(id=f"a{number}", connection=f"c{number}", protocol="tcp", request_headers={"opaque": "TLS"}, **told)
        for number in range(2)
    )
    history = dataclasses.replace(_history(_fault(0)), attempts=attempts)
    (missing,) = judge(history, named=[_Says(outcomes=(PASS,))]).missing
    assert missing.endswith("(connections on a -> b that wire could not read: 2 for 'TLS')")
    (missing,) = judge(_history(_fault(0)), named=[_Says(outcomes=(PASS,))]).missing
    assert missing.endswith("it proves nothing about the system")


def test_every_required_rule_must_be_decided() -> None:
    checker = _Says(outcomes=(PASS, ("R2", "INCONCLUSIVE")), rules=("R1", "R2"))
    assert judge(_history(), named=[checker]).missing == ("R2 is undecided: R2 said",)
    assert judge(_history(), named=[_Says(outcomes=(PASS,), rules=("R9",))]).missing == (
        "Says does not know the rule R9",
    )


def test_a_declared_policy_runs_along_and_can_only_fail() -> None:
    held = [_Says(outcomes=(PASS,))]
    undecided = judge(_history(), named=held, declared=[("a -> b", _Says(outcomes=(OPEN,)))])
    assert undecided.decision == "held"
    assert undecided.not_exercised == ("R1 a -> b: R1 said",)
    assert judge(_history(), named=held, declared=[("a -> b", _Says(outcomes=(FAIL,)))]).decision == "violated"


def test_a_declared_policy_that_is_also_named_runs_once() -> None:
    named = _Says(outcomes=(PASS,), link="a -> b")
    assert len(judge(_history(), named=[named], declared=[("a -> b", _Says(outcomes=(PASS,)))]).verdicts) == 1


def test_nothing_named_and_nothing_decided_is_inconclusive() -> None:
    assert judge(_history(), named=[], universal=[_Says(outcomes=(OPEN,))]).decision == "inconclusive"
    assert judge(_history(), named=[], universal=[_Says(outcomes=(PASS,))]).decision == "held"


def test_a_fault_that_hit_nothing_makes_even_a_pass_inconclusive_but_not_a_violation() -> None:
    assert judge(_history(_fault(0)), named=[_Says(outcomes=(PASS,))]).decision == "inconclusive"
    assert judge(_history(_fault(1)), named=[_Says(outcomes=(PASS,))]).decision == "held"
    assert judge(_history(_fault(0)), named=[_Says(outcomes=(FAIL,))]).decision == "violated"


def test_a_crashing_checker_is_never_a_pass_and_never_a_violation() -> None:
    judged = judge(_history(), named=[_Crashes()])
    assert judged.decision == "inconclusive"
    assert "RuntimeError: boom" in judged.missing[0]


def test_where_a_part_of_the_harness_died_nobody_has_failed_and_nothing_is_decided() -> None:
    died = NodeEvent(id="n1", node="+wire", event="exited", at_ns=5 * 10**8, detail="wire died (ended by SIGKILL)")
    other = NodeEvent(id="n2", node="orders", event="exited", at_ns=1, detail="exit code 1")
    history = dataclasses.replace(_history(), node_events=(other, died))
    judgement = judge(history, named=[_Says(outcomes=(FAIL, ("R2", "PASS")))])
    assert judgement.decision == "inconclusive"
    assert judgement.failures == ()
    assert judgement.missing[0].startswith("0.500 s into the test wire died (ended by SIGKILL): what was seen then")
    of_the_system = dataclasses.replace(_history(), node_events=(other,))
    assert judge(of_the_system, named=[_Says(outcomes=(FAIL,))]).decision == "violated"


def test_a_toxic_that_a_test_set_by_itself_is_unproved() -> None:
    fault = dataclasses.replace(_fault(0), kind="toxic latency", engine="toxiproxy-python", params={"latency": "9"})
    judgement = judge(_history(fault), named=[_Says(outcomes=(PASS,))])
    assert judgement.decision == "inconclusive"
    (said,) = judgement.missing
    assert said.startswith("the toxic latency on a -> b (latency=9), set through the toxiproxy fixture, is unproved")


def test_what_came_after_the_last_check_is_weighed_alone() -> None:
    first = judge(_history(_fault(0)), named=[_Says(outcomes=(FAIL,))])
    again = judge(_history(_fault(0)), named=[], universal=[_Says(outcomes=(FAIL,))])
    assert later(again, [first]).decision == "held"
    fresh = dataclasses.replace(_fault(0), id="f2")
    assert later(judge(_history(_fault(0), fresh), named=[]), [first]).missing == (
        judge(_history(fresh), named=[]).missing[0],
    )
    worse = judge(_history(_fault(1)), named=[], universal=[_Says(outcomes=(("R5", "FAIL"),))])
    assert later(worse, [first]).decision == "violated"
