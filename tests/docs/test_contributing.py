"""The fault that CONTRIBUTING.md makes up is one file and nothing else: laid where the page says, it is everywhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n# (harness/\S+\.py)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SENTENCE = "The caller is told that the service is under maintenance"


@pytest.fixture(scope="module")
def overlay(tmp_path_factory):
    """A copy of the package with the page's file in it; gives the copy and a way to run Python there."""
    folder = tmp_path_factory.mktemp("tree")
    ((path, source),) = BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text())
    shutil.copytree(ROOT / "harness", folder / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    assert not (folder / path).exists()
    (folder / path).write_text(source)

    def run(*words):
        env = {**os.environ, "PYTHONPATH": str(folder / "harness"), "COLUMNS": "80"}
        done = subprocess.run(
            [sys.executable, *words], env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = run("-c", "import pytest_chaos; print(pytest_chaos.__file__)")
    assert where.strip() == str(folder / "harness" / "pytest_chaos" / "__init__.py")
    return folder, run


def command(*words):
    return ("-c", f"import sys; from pytest_chaos.cli import main; sys.exit(main({list(words)!r}))")


def test_it_is_in_help(overlay):
    _, run = overlay
    for said in (run("-m", "pytest", "--help"), run(*command("faults"))):
        assert re.search(rf"^  Maintenance +{SENTENCE}", said.replace("\n" + " " * 22, " "), re.MULTILINE), said
    assert "back_in_s: 1 to 86 400 s; must be given" in run(*command("faults", "Maintenance"))


def test_it_is_in_the_strategies_and_in_the_catalogues_tests(overlay):
    _, run = overlay
    source = """
from hypothesis import given, settings
from pytest_chaos import Maintenance
from pytest_chaos.testing.strategies import faults
drawn = []
settings(max_examples=400, database=None, derandomize=True)(given(faults())(lambda fault: drawn.append(fault)))()
mine = [fault for fault in drawn if isinstance(fault, Maintenance)]
assert mine and all(1 <= fault.back_in_s <= 86_400 for fault in mine), len(drawn)
print(len(mine))
"""
    assert int(run("-c", source)) > 0
    said = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/faults", "-k", "Maintenance")
    assert re.search(r"[1-9]\d* passed", said), said


def test_it_is_in_the_conformance_run_and_in_the_table(overlay):
    folder, run = overlay
    page = folder / "faults.md"
    run("-m", "tests.conformance.table", "Maintenance", "--out", str(page))
    text = page.read_text()
    own = text[text.index("### Maintenance") :].partition("\n## ")[0]
    assert "## Maintenance\n\nFaults of planned outages" in text
    assert SENTENCE in own
    assert "| `back_in_s` | 1 to 86 400 s | must be given |" in own
    assert "`Maintenance(back_in_s=30)`, by wire:" in own
    assert "| httpx, requests, urllib3, httpx over HTTP/2 | answered 503 | no |" in own
    assert "| grpcio | `UNAVAILABLE` | no |" in own
    assert "| httpx, requests, urllib3, httpx over HTTP/2 | answered 503 | once |" in own
