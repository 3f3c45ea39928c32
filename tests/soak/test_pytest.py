"""However pytest itself ends in the middle of a fault: within 10 s nothing of its run is left.

Once each by default; ``PYTEST_CHAOS_SOAK=10`` (``make soak``) ten times each, at random moments.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_chaos.keeper import home
from tests.conformance.runtimes import kit
from tests.plugin.conftest import CONFTEST, SERVICE

ROUNDS = int(os.environ.get("PYTEST_CHAOS_SOAK", "1"))
TEST = """
from pytest_chaos import Hold, Status


def test_it(chaos):
    front = chaos.client("front", timeout_s=50)
    with chaos.fault(Status("idle -> front", 503), Hold("front -> bank")):
        print("in the fault", flush=True)
        front.post("/charges", json={"order": "o-1"})
"""


@pytest.fixture
def pytest_in_a_fault(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A pytest that is in the middle of a fault, and its run's id."""
    for name, text in {
        "conftest.py": CONFTEST,
        "service.py": SERVICE,
        "test_it.py": TEST,
        "pytest.ini": "[pytest]\n",
    }.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-u", "-m", "pytest", "--chaos", "-s", "-p", "no:cacheprovider"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            run = ""
            for line in process.stdout:
                if found := re.match(r"chaos: run (\S+),", line):
                    run = found[1]
                if "in the fault" in line:
                    break
            assert run
            yield process, run
        finally:
            process.kill()


BY_ITSELF = """
import os
import time

import pytest
from pytest_chaos import Hold, Pause


def test_it(chaos):
    with chaos.fault(Hold("test -> front"), Pause("idle")):
        print("in the fault", flush=True)
        {end}


@pytest.mark.chaos(allow_inconclusive=True)
def test_next(chaos):
    assert chaos.client("front").get("/").text == "v1"
"""
# How a test ends a run, or only itself, from within a fault -> the options, the exit status, how many tests passed.
ENDS = {
    "os._exit": ("os._exit(7)", (), 7, 0),
    "chaos-timeout": ("time.sleep(60)", ("--chaos-timeout=1",), 1, 1),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_test_that_ends_in_a_fault_leaves_nothing(tmp_path: Path, how: str) -> None:
    end, options, status, passed = ENDS[how]
    files = {"conftest.py": CONFTEST, "service.py": SERVICE, "test_it.py": BY_ITSELF.format(end=end)}
    for name, text in {**files, "pytest.ini": "[pytest]\n"}.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-u", "-m", "pytest", "--chaos", "-s", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == status, done.stdout
    assert "in the fault" in done.stdout
    found = re.search(r"chaos: run (\S+),", done.stdout)
    assert found is not None
    kit.until(lambda: not kit.left_of(found[1]), what=f"the end of {found[1]}")
    assert f"{passed} passed" in done.stdout or not passed, done.stdout


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_pytest_that_ends_in_a_fault_leaves_nothing(
    pytest_in_a_fault: tuple[subprocess.Popen[str], str], how: signal.Signals, number: int
) -> None:
    process, run = pytest_in_a_fault
    record = home.read_record(home.run_home(run))
    assert record is not None
    if number:
        threading.Event().wait(random.uniform(0, 0.5))
    os.kill(process.pid, how)
    kit.until(lambda: not kit.left_of(run, record.pid), what=f"the end of {run}")
    assert not home.run_home(run).folder.exists()
