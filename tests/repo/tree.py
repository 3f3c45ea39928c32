"""The files that git tracks: what the tests of the repository look at."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "harness" / "pytest_chaos"


@functools.cache
def tracked() -> tuple[Path, ...]:
    """List the tracked files that exist, as paths relative to the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return tuple(path for name in listed.split("\0") if name and (ROOT / (path := Path(name))).is_file())


def modules() -> list[Path]:
    """List the Python modules of the package, tracked or not yet."""
    return sorted(path for path in PACKAGE.rglob("*.py"))
