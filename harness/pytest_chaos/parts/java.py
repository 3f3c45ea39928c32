"""A Java runtime, 17 or newer: what Kafka needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_chaos.parts import _debian
from pytest_chaos.parts._part import Log, Part
from pytest_chaos.parts._tools import version_of, which

NAME = "java"
BY_DEFAULT = True
_OLDEST = 17
_HOW = f"install a Java runtime {_OLDEST} or newer (Debian: openjdk-17-jre-headless) or set JAVA_HOME"


def find(environ: Mapping[str, str]) -> Part:
    """Look for ``java`` in JAVA_HOME, then on PATH; one that is too old counts as missing."""
    home = environ.get("JAVA_HOME")
    own = Path(home) / "bin" / "java" if home else None
    program = str(own) if own is not None and own.is_file() else which("java", environ)
    if program is None:
        return Part(name=NAME, found=None, version=None, how_to_get=_HOW)
    version = version_of([program, "-version"], r'version "([^"]+)"', environ)
    if version is None or int(version.split(".")[0].split("-")[0]) < _OLDEST:
        why = f"{program} is {version or 'not answering'}: {_HOW}"
        return Part(name=NAME, found=None, version=version, how_to_get=why)
    return Part(name=NAME, found=program, version=version, how_to_get=_HOW)


def fetch(environ: Mapping[str, str], log: Log) -> None:
    """Install Debian's runtime when there is none; raise PartMissing where that is not possible."""
    if find(environ).found is None:
        _debian.install(["openjdk-17-jre-headless"], environ=environ, log=log, otherwise=_HOW)
        find(environ).require()
