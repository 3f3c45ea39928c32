"""RabbitMQ: the server on PATH (Debian package); in the cache a slim home and an initialised database start it fast.

The cache folder ``rabbitmq-<version>`` holds ``home/`` (sbin copied, only the plugins that a plain broker loads: most
of the start goes into searching about 90 code folders) and ``mnesia-template/`` (of the node NODE_NAME).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_chaos.parts import _debian, _rabbitmq_warm
from pytest_chaos.parts._part import Log, Part, cache_dir
from pytest_chaos.parts._rabbitmq_warm import NODE_NAME, node_environ
from pytest_chaos.parts._tools import which

__all__ = ["BY_DEFAULT", "NAME", "NODE_NAME", "Warm", "fetch", "find", "node_environ", "warm"]

NAME = "rabbitmq"
BY_DEFAULT = True
_HOW = "install rabbitmq-server 3.10 or newer (Debian: rabbitmq-server; macOS: brew install rabbitmq)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """What makes a broker start fast; each is absent until it was prepared."""

    home: Path | None
    """Run ``home/sbin/rabbitmq-server``: the script takes its home from its own path."""
    template: Path | None
    """A mnesia folder of the node NODE_NAME to copy."""


def find(environ: Mapping[str, str]) -> Part:
    """Look for the server; ``found`` is the real ``rabbitmq-server``, not Debian's wrapper that changes the user."""
    program = which("rabbitmq-server", environ)
    if program is None:
        return Part(name=NAME, found=None, version=None, how_to_get=_HOW)
    script = _script(Path(program))
    return Part(name=NAME, found=str(script), version=_version(script), how_to_get=_HOW)


def warm(environ: Mapping[str, str]) -> Warm:
    """Look for what fetch() prepared for the server that find() gives."""
    folder = _folder(environ)
    if folder is None:
        return Warm(home=None, template=None)
    home, template = folder / "home", folder / "mnesia-template"
    return Warm(home=home if home.is_dir() else None, template=template if template.is_dir() else None)


def fetch(environ: Mapping[str, str], log: Log) -> None:
    """Install Debian's package, not started, prepare home and template; raise PartMissing where that is impossible."""
    if find(environ).found is None:
        services = ["rabbitmq-server", "epmd.socket", "epmd.service"]
        _debian.install(["rabbitmq-server"], environ=environ, log=log, otherwise=_HOW, services=services)
    script = find(environ).require()
    folder = _folder(environ)
    if folder is None:
        return
    if not (folder / "home").is_dir():
        log("linking a slim RabbitMQ home")
        _rabbitmq_warm.make_home(folder, script.parent.parent)
    if not (folder / "mnesia-template").is_dir():
        log("starting RabbitMQ once to initialise its database")
        _rabbitmq_warm.make_template(folder, environ)


def _folder(environ: Mapping[str, str]) -> Path | None:
    version = find(environ).version
    return cache_dir(environ) / f"rabbitmq-{version}" if version else None


def _script(program: Path) -> Path:
    """See through Debian's wrapper and symlinks to the script that lies beside its plugins."""
    real = program.resolve()
    if (real.parent.parent / "plugins").is_dir():
        return real
    beside = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    return beside[-1] if beside else program


def _version(script: Path) -> str | None:
    """Read the version that the ``rabbit`` application declares: asking the server costs a second."""
    plugins = script.parent.parent / "plugins"
    for app in plugins.glob("rabbit-*/ebin/rabbit.app"):
        match = re.search(r'\{vsn,\s*"([^"]+)"', app.read_text(errors="replace"))
        if match:
            return match.group(1)
    return None
