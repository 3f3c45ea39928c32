"""The room's front door, the golden journals, and the command that renders an old run again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.histories import build
from pytest_chaos.cli import main
from pytest_chaos.errors import ChaosError
from pytest_chaos.reporting import write_reports

GOLDEN = Path(build.__file__).parent


@pytest.mark.parametrize("name", sorted(build.journals()))
def test_the_golden_journals_are_what_their_script_makes(name):
    assert (GOLDEN / f"{name}.jsonl").read_text() == "".join(build.lines(build.journals()[name])), (
        "run python -m fixtures.histories.build"
    )


@pytest.mark.parametrize("name", sorted(build.journals()))
def test_a_golden_journal_renders_and_renders_the_same_twice(tmp_path, name):
    paths = write_reports(GOLDEN / f"{name}.jsonl", tmp_path / "new" / "folder")
    first = [path.read_bytes() for path in paths]
    assert [path.name for path in paths] == ["report.html", "junit.xml", "traces.jaeger.json"]
    assert [path.read_bytes() for path in write_reports(GOLDEN / f"{name}.jsonl", tmp_path / "new" / "folder")] == first
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(path.name for path in paths)


def test_a_journal_that_cannot_be_read_leaves_no_file(tmp_path):
    with pytest.raises(ChaosError):
        write_reports(tmp_path / "nowhere.jsonl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_renders_the_folder_of_a_run(tmp_path, capsys):
    build.write(tmp_path / "journal.jsonl", build.journals()["retry"])
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(tmp_path / "report.html")
    assert (tmp_path / "report.html").exists()


def test_the_command_renders_into_another_folder_with_links(tmp_path):
    assert (
        main(["report", str(GOLDEN / "retry.jsonl"), "--out", str(tmp_path), "--jaeger", "http://127.0.0.1:16686"]) == 0
    )
    assert "http://127.0.0.1:16686/trace/" in (tmp_path / "report.html").read_text()


def test_the_command_says_what_is_wrong_with_a_folder_without_a_journal(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "journal.jsonl" in capsys.readouterr().err


def test_the_front_door_loads_nothing_but_the_standard_library():
    script = "import sys, pytest_chaos.reporting; print(sorted({'jinja2', 'httpx', 'pytest'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
