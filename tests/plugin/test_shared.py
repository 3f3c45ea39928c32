"""Tests that share one stack: each one's faults hit its own requests, each one's verdict sees its own, and no more.

A few repetitions by default; ``PYTEST_CHAOS_SHARED=200`` (``make soak``) two hundred.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

ROUNDS = int(os.environ.get("PYTEST_CHAOS_SHARED", "10"))
HEAD = """
import pathlib
import pytest
from pytest_chaos import AnswerLost, Correlation, Status

ROUNDS = range({rounds})
shared = pytest.mark.chaos(isolation="shared")


def meet(chaos, mine, others, round):
    # Both tests of a round have their faults in force when either calls on.
    pathlib.Path(f"{{mine}}-{{round}}").touch()
    chaos.wait_until(pathlib.Path(f"{{others}}-{{round}}").exists, timeout_s=30, what=f"test_{{others}} of this round")
"""
REFUSED = """

@shared
@pytest.mark.parametrize("round", ROUNDS)
def test_refused(chaos, round):
    client = chaos.client("front")
    with chaos.fault(Status("front -> bank", 503, operation="POST /charges", first=3)):
        meet(chaos, "refused", "lost", round)
        answers = chaos.burst(6, lambda n: client.post("/charges", json={{"order": f"r-{{round}}-{{n}}"}}).status_code)
    assert sorted(answers) == [201, 201, 201, 502, 502, 502]
    assert client.post("/charges", json={{"order": f"r-{{round}}-after"}}).status_code == 201
    history = chaos.history()
    assert [len(history.on(link)) for link in ("test -> front", "front -> bank")] == [7, 7]
    assert len(history.stub_effects("bank")) == 4
    assert [(fault.kind, fault.hits) for fault in history.faults] == [("Status", 3)]
    chaos.check(Correlation(rules=("X1", "X2")))
"""
LOST = """

@shared
@pytest.mark.parametrize("round", ROUNDS)
def test_lost(chaos, round):
    client = chaos.client("front")
    with chaos.fault(AnswerLost("front -> bank", nth=2, how="reset")):
        meet(chaos, "lost", "refused", round)
        answers = [client.post("/charges", json={{"order": "same"}}).status_code for _ in range(4)]
    assert answers == [201, 502, 201, 201]
    history = chaos.history()
    assert [len(history.on(link)) for link in ("test -> front", "front -> bank")] == [4, 4]
    assert len(history.stub_effects("bank")) == 4
    assert [(fault.kind, fault.hits) for fault in history.faults] == [("AnswerLost", 1)]
    chaos.check(Correlation(rules=("X1", "X2")))
"""
ALONE = """
import pathlib
import pytest
from pytest_chaos import Correlation, Refuse


def inside(name):
    return len([one for one in pathlib.Path.cwd().glob("inside-*") if name in one.name])


@pytest.mark.parametrize("n", range(4))
@pytest.mark.chaos(isolation="shared")
def test_together(chaos, n):
    here = pathlib.Path(f"inside-shared-{n}")
    here.touch()
    assert inside("alone") == 0
    chaos.client("front").post("/charges", json={"order": f"s-{n}"})
    chaos.check(Correlation(rules=("X1",)))
    assert inside("alone") == 0
    here.unlink()


@pytest.mark.parametrize("n", range(4))
def test_alone(chaos, n):
    here = pathlib.Path(f"inside-alone-{n}")
    here.touch()
    assert inside("inside") == 1
    with chaos.fault(Refuse("front -> bank")):
        chaos.client("front").post("/charges", json={"order": f"a-{n}"})
    chaos.check(Correlation(rules=("X5",)))
    assert inside("inside") == 1
    here.unlink()


@pytest.mark.chaos(isolation="shared")
def test_what_would_touch_others_is_refused(chaos):
    for what in (lambda: chaos.fault(Refuse("front -> bank")).__enter__(), lambda: chaos.restart("idle")):
        with pytest.raises(Exception, match="shares the stack"):
            what()
    chaos.client("front").post("/charges", json={"order": "s"})
    chaos.check(Correlation(rules=("X5",)))


@pytest.mark.chaos(isolation="shared", env={"front": {"ANSWER": "v2"}})
def test_other_settings(chaos):
    pass
"""


def _cases(project: Path) -> list[dict[str, Any]]:
    lines = (project / "reports" / "latest" / "journal.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["type"] == "test"]


def test_two_tests_with_faults_of_their_own_share_a_stack_and_nothing_else(project: pytest.Pytester) -> None:
    for name, tests in (("test_refused", REFUSED), ("test_lost", LOST)):
        project.makepyfile(**{name: (HEAD + tests).format(rounds=ROUNDS)})
    run = project.runpytest_subprocess("--chaos", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider", "-q")
    run.assert_outcomes(passed=2 * ROUNDS)
    cases = _cases(project.path)
    assert len(cases) == 2 * ROUNDS
    for case in cases:
        history = case["history"]
        assert history["isolation"] == "shared"
        assert "unattributed" not in history


def test_a_test_alone_is_never_with_sharers_and_what_touches_others_is_refused(project: pytest.Pytester) -> None:
    project.makepyfile(ALONE)
    run = project.runpytest_subprocess("--chaos", "-n", "2", "-p", "no:cacheprovider", "-q")
    run.assert_outcomes(passed=9, errors=1)
    run.stdout.fnmatch_lines(["*env=*under the feet of the tests that share the stack*"])
