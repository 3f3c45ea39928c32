"""A Docker engine that answers: only the containers runtime needs one."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pytest_chaos.parts import _debian, _docker_daemon
from pytest_chaos.parts._part import Log, Part

NAME = "docker"
BY_DEFAULT = False
_HOW = "start the Docker engine (Debian as root: `make setup-containers`), or set DOCKER_HOST to one that answers"
_ASK_S = 3.0


def find(environ: Mapping[str, str]) -> Part:
    """Ask the engine at DOCKER_HOST, else at its usual socket; ``found`` is its address and means that it answers."""
    address = environ.get("DOCKER_HOST") or f"unix://{_docker_daemon.SOCKET}"
    version = _ask(address)
    return Part(name=NAME, found=address if version else None, version=version, how_to_get=_HOW)


def fetch(environ: Mapping[str, str], log: Log) -> None:
    """Install Debian's engine and start it when it does not answer; raise PartMissing where that is not possible."""
    if find(environ).found is not None:
        return
    if not _docker_daemon.installed(environ):
        _debian.install(["docker.io"], environ=environ, log=log, otherwise=_HOW)
    _docker_daemon.start(environ, log, answers=lambda: find(environ).found is not None, otherwise=_HOW)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, as the engine speaks it."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_ASK_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ASK_S)
        self.sock.connect(self._path)


def _ask(address: str) -> str | None:
    """Give the engine's own version, or None when nobody answers at the address."""
    where = urlsplit(address)
    if where.scheme == "unix":
        if not Path(where.path).exists():
            return None
        connection: http.client.HTTPConnection = _UnixConnection(where.path)
    else:
        connection = http.client.HTTPConnection(where.hostname or "127.0.0.1", where.port or 2375, timeout=_ASK_S)
    try:
        connection.request("GET", "/version")
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    version = answer.get("Version") if isinstance(answer, dict) else None
    return version if isinstance(version, str) else None
