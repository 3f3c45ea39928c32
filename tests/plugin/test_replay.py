"""A replay runs what failed again: with its seed and the faults that the journal holds, even where a test drew them."""

from __future__ import annotations

import json
from typing import Any

import pytest

TESTS = """
import random
from pytest_chaos import Status


def test_that_draws_its_faults(chaos):
    draw = random.SystemRandom().randrange
    with chaos.fault(Status("test -> front", draw(500, 600), nth=draw(1, 4))):
        seen = [chaos.client("front").get("/").status_code for _ in range(4)]
    with chaos.fault(*(Status("test -> front", draw(400, 500)) for _ in range(draw(1, 4)))):
        seen.append(chaos.client("front").get("/").status_code)
    assert seen == []


def test_that_passes(chaos):
    chaos.client("front").get("/")
    from pytest_chaos import Correlation
    chaos.check(Correlation(rules=("X5",)))
"""


def cases(project: pytest.Pytester) -> dict[str, dict[str, Any]]:
    lines = (project.path / "reports" / "latest" / "journal.jsonl").read_text().splitlines()
    records = map(json.loads, lines)
    return {record["nodeid"].partition("::")[2]: record for record in records if record["type"] == "test"}


def statuses(case: dict[str, Any]) -> list[int]:
    return [op["status"] for op in case["history"]["ops"]]


def test_the_schedule_that_a_journal_holds_is_installed_again(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=TESTS)
    project.runpytest_subprocess("--chaos", "-p", "no:cacheprovider", "-q").assert_outcomes(passed=1, failed=1)
    first = cases(project)["test_that_draws_its_faults"]
    kept = project.path / "journal.jsonl"
    kept.write_bytes((project.path / "reports" / "latest" / "journal.jsonl").read_bytes())
    again = project.runpytest_subprocess("--chaos", f"--chaos-replay={kept}", "-p", "no:cacheprovider", "-q")
    again.assert_outcomes(failed=1, deselected=1)
    replayed = cases(project)["test_that_draws_its_faults"]
    assert statuses(replayed) == statuses(first)
    assert replayed["schedules"] == first["schedules"]
    assert [op["correlation_id"] for op in replayed["history"]["ops"]] == [
        op["correlation_id"] for op in first["history"]["ops"]
    ]

    one_more = "    with chaos.fault(Status('test -> front', 503)):\n        assert seen"
    project.makepyfile(test_it=TESTS.replace("    assert seen", one_more))
    more = project.runpytest_subprocess("--chaos", f"--chaos-replay={kept}", "-p", "no:cacheprovider", "-q")
    more.assert_outcomes(failed=1, deselected=1)
    more.stdout.fnmatch_lines(["*holds 2 schedules of this test, which asks for more now (Status on test -> front)*"])
