"""When the harness's own parts die in a test: that test is an error which says so, the next one has a stack again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_chaos.parts import toxiproxy
from tests.conformance.runtimes import kit
from tests.plugin.conftest import CONFTEST, SERVICE

TESTS = """
import os
import signal

import pytest
from pytest_chaos import Latency, Status
from pytest_chaos.keeper import home

ORDER = {"order": "o-1"}
pytestmark = pytest.mark.chaos(allow_inconclusive=True)


def kill(chaos, kind):
    keeper = chaos._session.keeper
    pids = {part["kind"]: part["pid"] for part in keeper.state().parts}
    pids["keeper"] = home.read_record(keeper.home).pid
    os.kill(pids[kind], signal.SIGKILL)


def works(chaos):
    with chaos.fault(Status("front -> bank", 503, nth=1)):
        assert chaos.client("front").post("/charges", json=ORDER).status_code == 502
    assert chaos.client("front").post("/charges", json=ORDER).status_code == 201
    chaos.check()
    (fault,) = chaos.history().faults
    assert fault.hits == 1


def test_1_wire_dies_and_the_test_sees_it(chaos):
    with chaos.fault(Status("front -> bank", 503)):
        kill(chaos, "wire")
        assert chaos.client("front").get("/").status_code == 200
        raise AssertionError("charged twice")


def test_2_works(chaos):
    works(chaos)


def test_3_toxiproxy_dies_and_the_test_sees_nothing(chaos):
    with chaos.fault(Latency("idle -> front", 300)):
        kill(chaos, "toxiproxy")


def test_4_works(chaos):
    works(chaos)


def test_5_the_keeper_dies(chaos):
    with chaos.fault(Status("front -> bank", 503)):
        kill(chaos, "keeper")


def test_6_has_none(chaos):
    pass
"""


@pytest.mark.skipif(not toxiproxy.find(os.environ).found, reason="no toxiproxy-server here: make setup")
def test_what_dies_is_named_with_the_faults_that_went_and_the_next_test_works(tmp_path: Path) -> None:
    topology = CONFTEST.replace("\n    )\n", '\n        toxiproxy=["idle -> front"],\n    )\n')
    files = {"conftest.py": topology, "service.py": SERVICE, "test_it.py": TESTS, "pytest.ini": "[pytest]\n"}
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    command = [sys.executable, "-m", "pytest", "--chaos", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    path = tmp_path / "reports" / "latest" / "journal.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    cases = {re.sub(r".*test_(\d).*", r"\1", one["nodeid"]): one for one in records if one["type"] == "test"}
    outcomes = {number: case["outcome"] for number, case in cases.items()}
    assert outcomes == {"1": "error", "2": "passed", "3": "error", "4": "passed", "5": "error"}, done.stdout

    said = cases["1"]["message"]
    assert "wire, the proxy on every link, died (ended by SIGKILL)" in said
    assert "f1 Status on front -> bank" in said
    assert "The test saw: " in said
    assert [one["event"] for one in cases["1"]["history"]["node_events"] if one["node"] == "+wire"] == [
        "exited",
        "ready",
    ]
    said = cases["3"]["message"]
    assert "Toxiproxy died (ended by SIGKILL)" in said
    assert "f1 Latency on idle -> front" in said
    said = cases["5"]["message"]
    assert "the keeper is gone" in said
    assert "in force then: f1 Status on front -> bank" in said
    assert "test_6_has_none - KeeperError: the keeper is gone" in done.stdout

    undos = [one for one in records if one["type"] == "undo"]
    assert [(one["ok"], one["action"].partition(" (")[0]) for one in undos] == [
        (True, "the keeper was lost in mid-run")
    ]
    assert next(one for one in records if one["type"] == "end").get("dirty", False) is False
    run = records[0]["run_id"]
    assert kit.left_of(run) == []
