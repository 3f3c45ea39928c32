from __future__ import annotations

from pathlib import Path

import pytest

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts import java


def test_a_recent_java_on_path_is_found(bare, program):
    path = program("java", 'openjdk version "21.0.2" 2024-01-16', stream=2)
    part = java.find(bare)
    assert (part.found, part.version) == (path, "21.0.2")


@pytest.mark.parametrize("says", ['java version "1.8.0_401"', 'openjdk version "11.0.22"'])
def test_an_old_java_counts_as_missing_and_says_why(bare, program, says):
    path = program("java", says, stream=2)
    part = java.find(bare)
    assert part.found is None
    assert path in part.how_to_get
    assert "17" in part.how_to_get


def test_java_home_wins_over_path(bare, program, tmp_path):
    program("java", 'openjdk version "17.0.1"', stream=2)
    home = tmp_path / "home" / "bin"
    home.mkdir(parents=True)
    Path(bare["PATH"], "java").rename(home / "java")
    program("java", 'openjdk version "21.0.2"', stream=2)
    assert java.find({**bare, "JAVA_HOME": str(home.parent)}).version == "17.0.1"


def test_where_no_package_can_be_installed_fetching_says_what_to_do(bare):
    with pytest.raises(PartMissing, match="openjdk"):
        java.fetch(bare, print)
