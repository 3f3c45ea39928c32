"""GitHub's texts: one line a command, a table that no cell can break."""

from __future__ import annotations

import dataclasses

from fixtures.histories import build
from fixtures.histories.failing import retry_case
from pytest_chaos.model.verdict import RuleResult, Verdict
from pytest_chaos.reporting import github
from pytest_chaos.reporting.reading import read_run


def run(tmp_path, name):
    return read_run(build.write(tmp_path / "j", build.journals()[name]))


def test_each_test_that_needs_a_look_has_one_error_line(tmp_path):
    lines = github.error_commands(run(tmp_path, "mixed"))
    assert len(lines) == 4
    assert lines[0] == (
        "::error file=chaos/test_retry.py,title=FAILED R1%2C R2%3A test_retries_stop_at_the_declared_number"
        "::4 attempts of POST /payments were made for one operation; the policy declares at most 3."
    )
    assert github.error_commands(run(tmp_path, "passed")) == []


def test_a_message_cannot_start_a_command_of_its_own(tmp_path):
    forged = RuleResult(rule="H1\n::warning ::x", outcome="FAIL", message="one\r\n::set-output name=x::50% off")
    case = dataclasses.replace(retry_case(), verdicts=(Verdict(checker="Honest", results=(forged,)),))
    (line,) = github.error_commands(read_run(build.write(tmp_path / "forged", build.journal("r", [case]))))
    assert len(line.splitlines()) == 1
    assert line.endswith("::one%0D%0A::set-output name=x::50%25 off")
    for line in github.error_commands(run(tmp_path, "hostile")):
        assert len(line.splitlines()) == 1
        assert line.startswith("::error file=")


def test_every_row_of_the_table_has_five_cells_whatever_a_service_says(tmp_path):
    for name in build.journals():
        rows = [line for line in github.summary(run(tmp_path, name)).splitlines() if line.startswith("|")]
        assert all(row.count("|") == 6 for row in rows)


def test_no_markup_of_a_service_reaches_the_page(tmp_path):
    said = github.summary(run(tmp_path, "hostile"))
    assert "<script" not in said
    assert "<img" not in said
    assert "](http" not in said
    assert "**DIRTY" in said


def test_the_summary_names_the_rules_the_reason_and_the_way_to_run_it_again(tmp_path):
    said = github.summary(run(tmp_path, "mixed"))
    assert "1 error, 2 failed, 1 inconclusive, 3 passed, seed 7." in said
    assert "R1, R2" in said
    assert "4 attempts of POST /payments were made" in said
    assert "--chaos-seed=7" in said
