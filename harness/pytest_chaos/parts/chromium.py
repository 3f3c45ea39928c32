"""A headless browser: only the tests of the HTML report need one."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_chaos.parts import _debian
from pytest_chaos.parts._part import Log, Part
from pytest_chaos.parts._tools import version_of, which

NAME = "chromium"
BY_DEFAULT = False
_HOW = "install chromium (Debian: chromium) or Google Chrome; only needed to test the HTML report"
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def find(environ: Mapping[str, str]) -> Part:
    """Look for Chromium or Chrome on PATH; ``found`` is the executable."""
    program = next((path for name in _PROGRAMS if (path := which(name, environ))), None)
    if program is None:
        return Part(name=NAME, found=None, version=None, how_to_get=_HOW)
    version = version_of([program, "--version"], r"([0-9]+(?:\.[0-9]+)+)", environ)
    return Part(name=NAME, found=program, version=version, how_to_get=_HOW)


def fetch(environ: Mapping[str, str], log: Log) -> None:
    """Install Debian's package as root; raise PartMissing where that is not possible."""
    if find(environ).found is None:
        _debian.install(["chromium"], environ=environ, log=log, otherwise=_HOW)
        find(environ).require()
