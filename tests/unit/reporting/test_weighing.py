"""What a case record says: failures by severity, rows by verdict, what is missing."""

from __future__ import annotations

import dataclasses

from fixtures.histories.failing import retry_case, saga_case
from fixtures.histories.others import passed_case, unhit_case
from fixtures.histories.values import ns
from pytest_chaos.model.verdict import RuleResult, Verdict
from pytest_chaos.reporting.weighing import (
    active_faults,
    anchor,
    failures,
    grouped,
    latest_fault,
    missing_of,
    replay_line,
    rows_of,
)


def test_what_costs_money_stands_before_what_costs_nerves():
    results = tuple(
        RuleResult(rule=rule, outcome="FAIL", message="m", severity=severity)
        for rule, severity in (
            ("A", "operability"),
            ("B", ""),
            ("C", "money and data"),
            ("D", "overload"),
            ("E", "availability"),
        )
    )
    assert [one.rule for one in failures((Verdict(checker="x", results=results),))] == ["C", "E", "D", "A", "B"]


def test_a_result_without_a_subject_has_that_of_its_verdict():
    assert failures(retry_case().verdicts)[0].subject == "orders -> payments"


def test_a_rule_that_nobody_asked_for_is_not_exercised_and_one_that_was_required_is_inconclusive():
    rows = {row.rule: row.outcome for row in rows_of(retry_case())}
    assert rows == {
        "R1": "FAIL",
        "R2": "FAIL",
        "R4": "PASS",
        "X1": "PASS",
        "B1": "not exercised",
        "R7": "not exercised",
    }
    assert {row.rule: row.outcome for row in rows_of(saga_case())}["G3"] == "INCONCLUSIVE"


def test_a_checker_that_decided_nothing_is_inconclusive_also_without_required_rules():
    case = dataclasses.replace(unhit_case(), required=())
    assert [row.outcome for row in rows_of(case)] == ["INCONCLUSIVE"]


def test_what_is_missing_names_the_fault_that_hit_nothing_and_the_undecided_rule():
    fault, rule = missing_of(unhit_case())
    assert "f1 FailFirst(nth=3) on orders -> payments hit nothing" in fault
    assert "R1 (orders -> payments) is undecided: 1 attempt" in rule
    assert missing_of(passed_case()) == ()


def test_a_fault_that_hit_nothing_says_where_nothing_could_be_read():
    case = unhit_case()
    opaque = dataclasses.replace(
        case.history.attempts[0], link="orders -> payments", protocol="tcp", request_headers={"opaque": "TLS"}
    )
    case = dataclasses.replace(case, history=dataclasses.replace(case.history, attempts=(opaque,)))
    assert "(connections on orders -> payments that wire could not read: 1 for 'TLS')" in missing_of(case)[0]


def test_a_system_that_had_not_come_to_rest_is_missing_evidence():
    case = passed_case()
    restless = dataclasses.replace(case.history, quiescent=False, unrest=("1 request is open on a -> b",))
    assert any("come to rest" in reason for reason in missing_of(dataclasses.replace(case, history=restless)))


def test_only_faults_of_the_time_of_the_witness_were_active():
    history = saga_case().history
    assert [fault.id for fault in active_faults(history, (ns(40), ns(50)))] == ["f1", "f2"]
    assert [fault.id for fault in active_faults(history, (ns(100), ns(200)))] == ["f2"]
    assert active_faults(history, (ns(5000),)) == ()


def test_where_no_fault_is_active_the_latest_one_is_known():
    history = saga_case().history
    first, second = (
        dataclasses.replace(fault, lifted_ns=ns(at)) for fault, at in zip(history.faults, (60, 50), strict=True)
    )
    lifted = dataclasses.replace(history, faults=(first, second))
    assert latest_fault(lifted, ns(5000)) == first
    assert latest_fault(lifted, ns(55)) == second
    assert latest_fault(lifted, ns(10)) is None


def test_the_anchor_of_a_test_is_its_own_and_harmless():
    assert anchor("a::b") == anchor("a::b") != anchor("a::c")
    assert anchor('"><script>').removeprefix("t-").isalnum()


def test_a_test_without_a_replay_line_gets_one_with_the_seed():
    assert replay_line(saga_case(), 7) == f"pytest --chaos --chaos-seed=7 {saga_case().nodeid}"
    assert replay_line(retry_case(), 9) == retry_case().replay


def test_one_rule_about_the_same_events_is_one_finding_with_every_sentence():
    one = RuleResult(rule="I1", outcome="FAIL", message="key o-1 had 2 effects", witness=("a1", "e1"))
    two = dataclasses.replace(one, message="o1 had 2 effects")
    other = dataclasses.replace(one, witness=("a9",))
    assert grouped((one, two, other)) == ((one, ("o1 had 2 effects",)), (other, ()))


def test_the_first_of_each_rule_stands_before_the_repeats():
    many = [RuleResult(rule="T1", subject=f"s{number}", outcome="FAIL", message="m") for number in range(3)]
    other = RuleResult(rule="N2", outcome="FAIL", message="m")
    told = [(one.rule, one.subject) for one, _ in grouped((*many, other))]
    assert told == [("T1", "s0"), ("N2", ""), ("T1", "s1"), ("T1", "s2")]
