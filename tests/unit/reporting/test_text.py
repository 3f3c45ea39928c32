"""The terminal's message: what it must name, how wide it may be."""

from __future__ import annotations

import dataclasses

import pytest

from fixtures.histories import build
from fixtures.histories.failing import many_attempts, retry_case, saga_case
from fixtures.histories.others import error_case, hostile_case, unhit_case
from pytest_chaos.model.verdict import RuleResult, Verdict
from pytest_chaos.reporting.reading import read_run
from pytest_chaos.reporting.text import case_text, failure_message

REPORT = "reports/20261124-011002-3fd1/report.html"


def text(case, **known):
    return case_text(case, seed=7, report=REPORT, **known)


def test_a_failure_names_the_rule_the_numbers_the_blame_the_fault_the_witness_and_the_way_on():
    said = text(retry_case())
    flat = " ".join(said.split())
    assert said.startswith("FAIL R1 on orders -> payments\n")
    for part in (
        "4 attempts of POST /payments were made for one operation; the policy declares at most 3.",
        "severity overload",
        "blame application",
        "active f1 Status(status=503, first=3, operation=POST /payments) on orders -> payments, 2.1 to 690.0 ms",
        "2 232.5 a12 orders -> payments POST /payments 503 6.5 ms",
        "FAIL R2 on orders -> payments",
        "last 4 log lines of orders:",
        f"report {REPORT}",
        "trace 4bf92f3577b34da6a3ce929d0e0e4736 in traces.jaeger.json",
        "replay pytest --chaos --chaos-seed=7",
    ):
        assert part in flat


def test_a_failure_after_the_fault_names_the_fault_that_was_the_latest():
    case = retry_case()
    (fault,) = case.history.faults
    over = dataclasses.replace(fault, lifted_ns=fault.installed_ns + 1)
    gone = dataclasses.replace(case, history=dataclasses.replace(case.history, faults=(over,)))
    flat = " ".join(text(gone).split())
    assert "active no fault any more; the latest was f1 Status(" in flat
    late = dataclasses.replace(over, installed_ns=case.history.ended_ns, lifted_ns=case.history.ended_ns)
    gone = dataclasses.replace(case, history=dataclasses.replace(case.history, faults=(late,)))
    assert "active no fault yet" in " ".join(text(gone).split())


def test_events_that_prove_two_rules_are_shown_once():
    (verdict, *_) = retry_case().verdicts
    (first, *_) = [one for one in verdict.results if one.outcome == "FAIL"]
    again = dataclasses.replace(first, rule="R8", message="and something else")
    said = failure_message(retry_case().history, [Verdict(checker="Retry", subject="", results=(first, again))])
    assert f"witness   the {len(first.witness)} events of R1, above" in said
    assert said.count("(ms since the test began") == 1


def test_the_link_into_jaeger_stands_there_when_its_address_is_known():
    assert "trace     http://127.0.0.1:16686/trace/4bf92f3577b34da6a3ce929d0e0e4736" in text(
        retry_case(), jaeger_url="http://127.0.0.1:16686/"
    )


@pytest.mark.parametrize(
    "case", [retry_case(), saga_case(), unhit_case(), many_attempts(400)[1]], ids=lambda case: case.outcome
)
def test_no_line_is_wider_than_a_terminal(case):
    assert max(map(len, text(case).splitlines())) <= 80


def test_an_inconclusive_says_what_was_missing():
    flat = " ".join(text(unhit_case()).split())
    assert flat.startswith("INCONCLUSIVE")
    assert "hit nothing" in flat
    assert "R1 (orders -> payments) is undecided: 1 attempt of POST /payments" in flat


def test_a_long_witness_is_cut_in_the_middle_and_the_cut_is_said():
    said = text(many_attempts(400)[1])
    assert "... 288 more, all in the report ..." in said
    assert " a1  " in said
    assert " a300  " in said


def test_no_escape_sequence_and_no_secret_reaches_the_terminal():
    said = text(hostile_case())
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "s3cr3t" not in said


def test_many_failures_of_one_rule_do_not_hide_another():
    results = [RuleResult(rule="T1", subject=f"s{number}", outcome="FAIL", message="m") for number in range(6)] + [
        RuleResult(rule="N2", outcome="FAIL", message="m")
    ]
    said = failure_message(retry_case().history, [Verdict(checker="c", results=tuple(results))])
    assert said.index("FAIL T1 on s0") < said.index("FAIL N2") < said.index("FAIL T1 on s1")


def test_many_failures_are_counted():
    results = tuple(RuleResult(rule=f"Z{n}", outcome="FAIL", message="m") for n in range(9))
    said = failure_message(retry_case().history, (Verdict(checker="x", results=results),))
    assert "4 more failures, all in the report: Z5, Z6, Z7, Z8" in said


def test_the_replay_line_is_what_a_shell_would_read(tmp_path):
    case = dataclasses.replace(retry_case(), replay="A=1 pytest --chaos 'x y::z[a b]' " + "--option " * 20)
    lines = text(case).partition("replay    ")[2].splitlines()
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert " ".join(line.removesuffix("\\").strip() for line in lines).startswith(
        "A=1 pytest --chaos 'x y::z[a b]' --option"
    )


def test_a_test_without_a_history_gives_its_message():
    assert text(error_case()).startswith("StackError: payments died 0.4 s after its start")


def test_every_golden_journal_can_be_told(tmp_path):
    for name, records in build.journals().items():
        run = read_run(build.write(tmp_path / name, records))
        assert all(case_text(case, seed=run.record.seed) for case in run.cases)
