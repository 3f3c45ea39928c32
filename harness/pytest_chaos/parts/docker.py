"""A Docker engine that answers: only the containers runtime needs one."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pytest_chaos.parts import _debian, _docker_daemon
from pytest_chaos.parts._part import Log, Part

NAME = "docker"
BY_DEFAULT = False
_HOW = "start the Docker engine (Debian as root: `make setup-containers`), or set DOCKER_HOST to one that answers"
_ASK_S = 3.0


def find(environ: Mapping[str, str]) -> Part:
    """Ask the engine at DOCKER_HOST, else at its usual socket; ``found`` is its address and means that it answers."""
    version = _version(environ)
    return Part(name=NAME, found=_address(environ) if version else None, version=version, how_to_get=_HOW)


def fetch(environ: Mapping[str, str], log: Log) -> None:
    """Install Debian's engine and start it when it does not answer; raise PartMissing where that is not possible."""
    if find(environ).found is not None:
        return
    if not _docker_daemon.installed(environ):
        _debian.install(["docker.io"], environ=environ, log=log, otherwise=_HOW)
    _docker_daemon.start(environ, log, answers=lambda: find(environ).found is not None, otherwise=_HOW)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, as the engine speaks it."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        """Connect to the socket's path instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(self._path)


def call(environ: Mapping[str, str], method: str, path: str, *, timeout_s: float = _ASK_S) -> tuple[int, Any]:
    """Ask the engine's API; give status and decoded answer (None when it is empty). Raises OSError when it is away."""
    where = urlsplit(_address(environ))
    connection: http.client.HTTPConnection = (
        _UnixConnection(where.path, timeout_s)
        if where.scheme == "unix"
        else http.client.HTTPConnection(where.hostname or "127.0.0.1", where.port or 2375, timeout=timeout_s)
    )
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body.strip() else None
    except (http.client.HTTPException, ValueError) as wrong:
        msg = f"what answers at {_address(environ)} is no Docker engine: {wrong}"
        raise OSError(msg) from wrong
    finally:
        connection.close()


def _address(environ: Mapping[str, str]) -> str:
    return environ.get("DOCKER_HOST") or f"unix://{_docker_daemon.SOCKET}"


def _version(environ: Mapping[str, str]) -> str | None:
    """Give the engine's own version, or None when nobody answers."""
    try:
        _, answer = call(environ, "GET", "/version")
    except OSError:
        return None
    version = answer.get("Version") if isinstance(answer, dict) else None
    return version if isinstance(version, str) else None
