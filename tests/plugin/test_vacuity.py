"""Vacuity is never a pass: what proves nothing is INCONCLUSIVE, fails, and says what was missing."""

from __future__ import annotations

import pytest

TESTS = """
import unittest

import pytest
from pytest_chaos import AnswerLost, Correlation, Idempotency

ORDER = {"order": "o-1"}


def test_on_a_link_that_is_never_used(chaos):
    with chaos.fault(AnswerLost("idle -> front", nth=1)):
        chaos.client("front").post("/charges", json=ORDER)
    chaos.check(Idempotency(effects="bank"))


def test_with_an_nth_that_is_never_reached(chaos):
    with chaos.fault(AnswerLost("front -> bank", nth=7)):
        chaos.client("front").post("/charges", json=ORDER)
    chaos.check(Idempotency(effects="bank"))


def test_whose_evidence_never_came(chaos):
    chaos.client("front").post("/charges", json=ORDER)
    chaos.check(Correlation(rules=("X7",)))


def test_that_drives_nothing_and_checks_nothing(chaos):
    pass


@pytest.mark.chaos
def test_that_has_the_mark_alone():
    pass


@pytest.mark.chaos
class TestOfUnittest(unittest.TestCase):
    def test_a_method(self):
        pass


def test_whose_last_fault_came_after_its_last_check(chaos):
    with chaos.fault(AnswerLost("front -> bank", nth=1)):
        chaos.client("front").post("/charges", json=ORDER)
    chaos.check(Correlation())
    with chaos.fault(AnswerLost("idle -> front", nth=1)):
        chaos.client("front").post("/charges", json=ORDER)


def test_whose_fault_was_never_in_force(chaos):
    chaos.fault(AnswerLost("front -> bank", nth=1))
    chaos.client("front").post("/charges", json=ORDER)
    chaos.check(Correlation())
"""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("test_on_a_link_that_is_never_used", "AnswerLost on idle -> front*hit nothing"),
        ("test_with_an_nth_that_is_never_reached", "AnswerLost on front -> bank (*nth=*hit nothing"),
        ("test_whose_evidence_never_came", "X7*undecided"),
        ("test_that_drives_nothing_and_checks_nothing", "nothing was decided"),
        ("test_that_has_the_mark_alone", "nothing was decided"),
        ("TestOfUnittest::test_a_method", "nothing was decided"),
        ("test_whose_last_fault_came_after_its_last_check", "f2 AnswerLost on idle -> front*hit nothing"),
        ("test_whose_fault_was_never_in_force", "AnswerLost on front -> bank* was never in force"),
    ],
)
def test_it_is_inconclusive_and_says_what_was_missing(verdicts: dict[str, str], name: str, says: str) -> None:
    import fnmatch

    said = " ".join(verdicts[name].split())
    assert said.startswith(("Inconclusive:", "FaultError:"))
    assert fnmatch.fnmatch(said, f"*{says}*"), said


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run the tests once on one stack, and give each one's message out of the journal."""
    import json
    import subprocess
    import sys

    from tests.plugin.conftest import CONFTEST, SERVICE

    folder = tmp_path_factory.mktemp("vacuous")
    for file, text in {
        "conftest.py": CONFTEST,
        "service.py": SERVICE,
        "test_vacuous.py": TESTS,
        "pytest.ini": "[pytest]\n",
    }.items():
        (folder / file).write_text(text)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--chaos", "-q"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    records = [json.loads(line) for line in (folder / "reports" / "latest" / "journal.jsonl").read_text().splitlines()]
    cases = [record for record in records if record["type"] == "test"]
    assert [case["outcome"] for case in cases] == ["inconclusive"] * 7 + ["error"]
    return {case["nodeid"].partition("::")[2]: case["message"] for case in cases}
