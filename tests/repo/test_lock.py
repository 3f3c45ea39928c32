"""The locks pin everything that pyproject.toml asks for, by hash, and know no address."""

from __future__ import annotations

import re
import tomllib

from tests.repo.tree import ROOT

LOCK = (ROOT / "requirements.lock").read_text() + (ROOT / "benchmarks" / "requirements.lock").read_text()
PINS = dict(re.findall(r"^([a-z0-9.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", LOCK, re.MULTILINE))


def wanted() -> set[str]:
    """Name every requirement of the wheel, its extras and the development groups."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    lists += project["dependency-groups"].values()
    names = (re.match(r"[A-Za-z0-9._-]+", line) for each in lists for line in each if isinstance(line, str))
    return {match.group(0).lower() for match in names if match} - {"pytest-chaos"}


def test_every_requirement_is_pinned():
    assert wanted() - set(PINS) == set()


def test_every_pin_has_hashes():
    entries = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)
    assert [entry.split()[0] for entry in entries if "==" in entry and "--hash=sha256:" not in entry] == []


def test_no_address_stands_in_the_lock():
    assert "://" not in LOCK
