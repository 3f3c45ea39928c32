from __future__ import annotations

import pytest

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts._tools import move_into_place, run, scratch, version_of, which


def test_an_empty_environment_finds_no_program():
    assert which("sh", {}) is None


def test_a_program_that_cannot_run_has_no_version(tmp_path):
    assert version_of([str(tmp_path / "absent")], "(.*)", {}) is None


def test_a_program_that_takes_too_long_is_named(bare):
    with pytest.raises(PartMissing, match="`/bin/sleep 30` was not done after 0 s"):
        run(["/bin/sleep", "30"], environ=bare, timeout_s=0.2)


def test_a_faster_neighbour_s_result_stays(tmp_path):
    final = tmp_path / "final"
    (final / "theirs").mkdir(parents=True)
    with scratch(tmp_path) as folder:
        (folder / "made" / "ours").mkdir(parents=True)
        move_into_place(folder / "made", final)
    assert [path.name for path in final.iterdir()] == ["theirs"]
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
