"""SIGKILL of anything at a random moment: within 10 s no fault is active, nothing is left, and the next run is clean.

On a stack of two services and a broker with Toxiproxy. A few times each in CI; with ``PYTEST_CHAOS_SOAK=10`` (``make
soak``) pytest and wire 50 times, the keeper, Toxiproxy, a service and a container 10 times each.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_chaos.keeper import home
from pytest_chaos.parts import docker, redis, toxiproxy
from tests.conformance.runtimes import boxes, kit
from tests.soak.project import Run, left_of
from tests.soak.rounds import rounds

WITHIN_S = 10.0
WHY = boxes.missing()
pytestmark = pytest.mark.skipif(
    not all(part.find(os.environ).found for part in (redis, toxiproxy)), reason="needs Redis and Toxiproxy: make setup"
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Start runs in one project; whatever is still up at the end is ended."""
    runs: list[Run] = []

    def one(*options: str, **settings: bool) -> Run:
        runs.append(Run(tmp_path / "project", *options, **settings))
        return runs[-1]

    yield one
    for run in runs:
        run.close()


def parts_of(run: Run) -> dict[str, int | str]:
    """Map the nodes of a run that is in its first fault to their processes or containers."""
    parts: dict[str, int | str] = json.loads(run.wait_for(r"\.?(?:test_it\.py )?parts (.*)")[1])
    return parts


def journal(run: Run) -> list[dict[str, Any]]:
    path = run.folder / "reports" / "latest" / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def outcomes(run: Run) -> dict[str, str]:
    return {one["nodeid"].partition("::")[2]: one["outcome"] for one in journal(run) if one["type"] == "test"}


def nothing_left(run: str, since: float) -> None:
    kit.until(lambda: not left_of(run), what=f"the end of {run}: {left_of(run)}")
    assert time.monotonic() - since < WITHIN_S


def a_clean_run(run: Run) -> None:
    assert run.end() == 0, run.output
    assert outcomes(run) == {"test_clean": "passed"}
    assert left_of(run.run_id) == []


@pytest.mark.parametrize("number", rounds(2, each=5))
def test_pytest_at_any_moment(start: Any, number: int) -> None:
    run = start()
    name = run.run_id
    if number == 0:
        run.wait_for(r".*in a fault now")
    else:
        time.sleep(random.uniform(0, 2.5))
    run.process.kill()
    nothing_left(name, time.monotonic())
    if number == 0:
        a_clean_run(start("-k", "test_clean"))


@pytest.mark.parametrize("number", rounds(1))
def test_the_keeper_at_any_moment(start: Any, number: int) -> None:
    run = start()
    name = run.run_id
    if number == 0:
        run.wait_for(r".*in a fault now")
    else:
        time.sleep(random.uniform(0, 2.5))
    record = home.read_record(home.run_home(name))
    if record is None:  # the random moment came before the keeper
        return
    os.kill(record.pid, signal.SIGKILL)
    run.stop()
    assert run.end() == 1, run.output
    assert "the keeper" in run.output, run.output
    a_clean_run(start("-k", "test_clean"))
    assert left_of(name) == []


@pytest.mark.parametrize(
    ("victim", "number"),
    [
        *(("wire", number) for number in rounds(1, each=5)),
        *(("toxiproxy", number) for number in rounds(1)),
        *(("back", number) for number in rounds(1)),
    ],
)
def test_a_part_or_a_service_in_mid_test(start: Any, victim: str, number: int) -> None:
    run = start()
    parts = parts_of(run)
    run.wait_for(r".*in a fault now")
    time.sleep(random.uniform(0, 1.0))
    began = time.monotonic()
    os.kill(int(parts[victim]), signal.SIGKILL)
    run.stop()
    it_goes_on(run, victim, began)


@pytest.mark.skipif(bool(WHY), reason=WHY)
@pytest.mark.parametrize("number", rounds(1))
def test_a_container_in_mid_test(start: Any, number: int) -> None:
    run = start(containers=True, toxiproxy=False)
    parts = parts_of(run)
    run.wait_for(r".*in a fault now")
    time.sleep(random.uniform(0, 1.0))
    began = time.monotonic()
    status, _ = docker.call(os.environ, "POST", f"/containers/{parts['back']}/kill?signal=KILL")
    assert status == 204
    run.stop()
    it_goes_on(run, "back", began)


def it_goes_on(run: Run, victim: str, began: float) -> None:
    """The test with the faults tells what died; the next one finds a stack that works, with no fault in it, in time."""
    run.wait_for(r".*clean", timeout_s=2 * WITHIN_S)
    assert time.monotonic() - began < WITHIN_S
    ours = victim in ("wire", "toxiproxy")
    assert run.end() == (1 if ours else 0), run.output
    assert outcomes(run) == {"test_faults": "error" if ours else "passed", "test_clean": "passed"}, run.output
    records = journal(run)
    case = next(one for one in records if one["type"] == "test")
    events = [one["event"] for one in case["history"]["node_events"] if one["node"].lstrip("+") == victim]
    assert "exited" in events
    if ours:
        assert "died (ended by SIGKILL)" in case["message"]
    undos = [one for one in records if one["type"] == "undo"]
    assert undos
    assert [one for one in undos if not one["ok"]] == []
    assert left_of(run.run_id) == []
