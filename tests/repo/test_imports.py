"""The house's import contracts hold: one run of import-linter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.repo.tree import ROOT


def test_imports_point_down():
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([str(lint), "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr


def test_type_checkers_see_every_family_of_faults_through_the_front_door():
    """At run time the front door asks the catalogue; a type checker cannot, and needs a line a family."""
    front_door = (ROOT / "harness/pytest_chaos/__init__.py").read_text()
    families = {path.stem for path in (ROOT / "harness/pytest_chaos/faults").glob("[!_]*.py")}
    assert families, "no families of faults: the test looks in the wrong place"
    missing = [family for family in sorted(families) if f"from pytest_chaos.faults.{family} import *" not in front_door]
    assert not missing, f"add a line each to harness/pytest_chaos/__init__.py, under TYPE_CHECKING: {missing}"
