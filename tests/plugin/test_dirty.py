"""What could not be undone is said loudly: in failure, summary and exit status; such a stack is not kept."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.conformance.runtimes import kit
from tests.plugin.conftest import CONFTEST, SERVICE

# Does not start again while there is a file called "broken".
FRAIL = "import pathlib\nassert not pathlib.Path('broken').exists(), 'it is broken'\n" + SERVICE
TESTS = """
import pathlib

import pytest
from pytest_chaos import Kill

pytestmark = pytest.mark.chaos(allow_inconclusive=True)


def test_1_it_cannot_be_undone(chaos):
    with chaos.fault(Kill("idle")):
        pathlib.Path("broken").touch()


def test_2_the_next_one_says_why_it_cannot_run(chaos):
    pass


@pytest.fixture
def mended():
    pathlib.Path("broken").unlink()


def test_3_works_once_it_is_mended(mended, chaos):
    chaos.client("idle").get("/")
"""


def test_a_run_that_could_not_undo_a_fault_is_dirty(tmp_path: Path) -> None:
    files = {"conftest.py": CONFTEST, "service.py": FRAIL, "test_it.py": TESTS, "pytest.ini": "[pytest]\n"}
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    command = [sys.executable, "-m", "pytest", "--chaos", "--chaos-keep", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 10, done.stdout
    assert "chaos: DIRTY: something could not be undone" in done.stdout
    records = [json.loads(line) for line in (tmp_path / "reports/latest/journal.jsonl").read_text().splitlines()]
    cases = {re.sub(r".*test_(\d).*", r"\1", one["nodeid"]): one for one in records if one["type"] == "test"}
    assert {number: case["outcome"] for number, case in cases.items()} == {"1": "error", "3": "passed"}, done.stdout
    said = " ".join(cases["1"]["message"].split())
    assert said.startswith("UndoError: DIRTY: could not be undone: kill idle: undo: idle: died at its start (exit code")
    assert "escalate: idle: died at its start" in said
    assert "StackError: idle: died at its start" in done.stdout.partition("ERROR at setup of test_2_the_next")[2]
    (undo,) = (one for one in records if one["type"] == "undo")
    assert not undo["ok"]
    assert undo["took_ms"] > 0
    assert records[-1]["dirty"] is True
    run = records[0]["run_id"]
    kit.until(lambda: not kit.left_of(run), what="the end of a stack that is not kept, since it is dirty")
