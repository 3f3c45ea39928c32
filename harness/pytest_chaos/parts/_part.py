"""What a part is, where the cache is, and how the files of this room are listed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from pytest_chaos.errors import PartMissing

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One real part as it was found, or the sentence that says how to get it.

    ``found`` is what a caller needs to use it: an executable, for Kafka the folder of jars, for Docker the engine's
    address. ``version`` is what the part says of itself.
    """

    name: str
    found: str | None
    version: str | None
    how_to_get: str

    def require(self) -> Path:
        """Give ``found`` as a path; raise PartMissing with the way to get the part when it is not there."""
        if self.found is None:
            msg = f"{self.name} is not on this machine: {self.how_to_get}"
            raise PartMissing(msg)
        return Path(self.found)


class Source(Protocol):
    """What each file of this room offers."""

    NAME: str
    BY_DEFAULT: bool
    """Whether a plain ``pytest-chaos setup`` fetches it: true for what local processes need."""

    def find(self, environ: Mapping[str, str]) -> Part:
        """Look for the part; change nothing."""
        ...

    def fetch(self, environ: Mapping[str, str], log: Log) -> None:
        """Get the part if it is not there, prepare what makes it start fast; raise PartMissing when impossible."""
        ...


def cache_dir(environ: Mapping[str, str]) -> Path:
    """Give the per-user cache folder.

    ``$PYTEST_CHAOS_CACHE``, else ``$XDG_CACHE_HOME/pytest-chaos``, else ``~/.cache/pytest-chaos``.
    """
    if own := environ.get("PYTEST_CHAOS_CACHE"):
        return Path(own)
    if shared := environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "pytest-chaos"
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".cache" / "pytest-chaos"


def all_parts() -> dict[str, Source]:
    """Load every file of this room, by the part's name."""
    package = importlib.import_module("pytest_chaos.parts")
    names = [found.name for found in pkgutil.iter_modules(package.__path__) if not found.name.startswith("_")]
    modules = [cast("Source", importlib.import_module(f"pytest_chaos.parts.{name}")) for name in names]
    return {module.NAME: module for module in modules}
