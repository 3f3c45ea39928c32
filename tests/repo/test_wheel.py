"""The wheel holds the package and its metadata, and nothing else of this repository."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest

from tests.repo.tree import PACKAGE, ROOT


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_only_the_package_and_its_metadata_are_in_it(contents):
    assert {name.split("/")[0] for name in contents} == {"pytest_chaos", "pytest_chaos-0.1.0.dist-info"}


def test_every_module_of_the_package_is_in_it(contents):
    sources = {str(path.relative_to(PACKAGE.parent)) for path in PACKAGE.rglob("*.py")}
    assert sources - set(contents) == set()
    assert "pytest_chaos/py.typed" in contents


def test_it_registers_the_plugin_and_the_command(contents):
    entries = contents["pytest_chaos-0.1.0.dist-info/entry_points.txt"].decode()
    assert "[pytest11]\npytest_chaos = pytest_chaos.plugin" in entries
    assert "pytest-chaos = pytest_chaos.cli:main" in entries
