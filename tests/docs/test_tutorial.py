"""The tutorial, done as a new user would: an empty folder, the built wheel, the page's own files and commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_STEP = re.compile(r"^```(?P<kind>python file|console run)=(?P<name>\S+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def new_user(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An empty folder, and a virtual environment that holds nothing but the built wheel."""
    folder = tmp_path_factory.mktemp("new-user")
    dist = folder / "dist"
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", dist, ROOT],
        check=True,
        capture_output=True,
    )
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    wheel = next(dist.glob("*.whl"))
    subprocess.run([venv / "bin" / "python", "-m", "pip", "install", "-q", wheel], check=True)
    project = folder / "project"
    project.mkdir()
    return project, venv / "bin"


def test_the_tutorial_finds_the_double_charge_and_passes_after_its_fix(new_user: tuple[Path, Path]) -> None:
    project, binaries = new_user
    outcomes = []
    page = (ROOT / "docs" / "tutorial.md").read_text()
    for step in _STEP.finditer(page):
        if step["kind"] == "python file":
            (project / step["name"]).write_text(step["body"])
            continue
        assert step["body"].splitlines()[-1] == "pytest --chaos"
        run = subprocess.run(
            [binaries / "pytest", "--chaos", "-p", "no:cacheprovider"],
            cwd=project,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        outcomes.append((step["name"], run.returncode, run.stdout))
    assert [name for name, _, _ in outcomes] == ["fails", "passes"]
    (_, failed, said), (_, passed, then) = outcomes
    assert failed == 1, said
    assert "I1" in said
    assert "AnswerLost" in said
    assert passed == 0, then
    assert (project / "reports" / "latest" / "report.html").is_file()


def test_the_users_own_files_stay_small() -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text()
    steps = [(step["name"], step["body"]) for step in _STEP.finditer(page) if step["kind"] == "python file"]
    sizes = {name: len(body.splitlines()) for name, body in reversed(steps)}
    assert sizes["conftest.py"] + sizes["test_payment.py"] < 40
