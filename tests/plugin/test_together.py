"""Beside others: xdist's workers share one stack, async tests drive it, and a kept stack is found again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

TESTS = """
import asyncio
import pytest
from pytest_chaos import Correlation, Status

ORDER = {"order": "o-1"}


def test_one(chaos):
    assert chaos.client("front").post("/charges", json=ORDER).status_code == 201
    chaos.check(Correlation(rules=("X1",)))


def test_two(chaos):
    with chaos.fault(Status("front -> bank", 503)):
        assert chaos.client("front").post("/charges", json=ORDER).status_code == 502
    chaos.check(Correlation(rules=("X1",)))


@pytest.mark.asyncio
async def test_three(chaos):
    async with chaos.aclient("front") as client:
        answer = await asyncio.wait_for(client.post("/charges", json=ORDER), 10)
    assert answer.status_code == 201
    chaos.check(Correlation(rules=("X1",)))
"""

ANSWER = """
def test_the_answer(chaos):
    from pytest_chaos import Correlation
    assert chaos.client("front").get("/").text == "{answer}"
    chaos.client("front").post("/charges", json={{"order": "o-1"}})
    chaos.check(Correlation(rules=("X1",)))
"""


def test_three_tests_pass_on_two_workers_that_share_one_stack(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS)
    run = project.runpytest_subprocess("--chaos", "-n", "2", "-p", "no:cacheprovider")
    run.assert_outcomes(passed=3)
    journal = (project.path / "reports" / "latest" / "journal.jsonl").read_text()
    assert journal.count('"type":"run"') == 1
    assert journal.count('"type":"test"') == 3


def test_a_kept_stack_is_found_again_and_an_edited_service_serves_its_new_code(project: pytest.Pytester) -> None:
    try:
        _run_kept(project, "v1")
        before = _pids(project.path)
        _run_kept(project, "v1")
        assert _pids(project.path) == before, "nothing changed, so nothing was restarted"
        service = project.path / "service.py"
        service.write_text(service.read_text().replace('"v1"', '"v2"'))
        _run_kept(project, "v2")
    finally:
        for keeper in _keepers(project.path):
            os.kill(keeper, signal.SIGTERM)


def _run_kept(project: pytest.Pytester, answer: str) -> None:
    project.makepyfile(test_answer=ANSWER.format(answer=answer))
    run = project.runpytest_subprocess("--chaos", "--chaos-keep", "-p", "no:cacheprovider", "test_answer.py")
    run.assert_outcomes(passed=1)


def _keepers(project: Path) -> list[int]:
    return [pid for pid, command in _commands() if "pytest_chaos.keeper" in command and str(project) in command]


def _pids(project: Path) -> list[int]:
    found = []
    for pid, command in _commands():
        try:
            if "service.py" in command and Path(f"/proc/{pid}/cwd").readlink() == project:
                found.append(pid)
        except OSError:
            continue
    return sorted(found)


def _commands() -> list[tuple[int, list[str]]]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found.append((int(entry.name), (entry / "cmdline").read_bytes().decode().split("\0")))
        except OSError:
            continue
    return found
