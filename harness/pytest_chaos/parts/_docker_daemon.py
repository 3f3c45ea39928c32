"""Starting the Docker engine: by the init system when there is one, else by hand as a daemon of its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts._part import Log, cache_dir
from pytest_chaos.parts._tools import run, which

SOCKET = Path("/var/run/docker.sock")
_START_S = 30.0
_POLL_S = 0.1


def installed(environ: Mapping[str, str]) -> bool:
    """Whether the engine's daemon is on this machine."""
    return which("dockerd", environ) is not None


def start(environ: Mapping[str, str], log: Log, *, answers: Callable[[], bool], otherwise: str) -> None:
    """Start the daemon and wait until it answers; raise PartMissing with the daemon's last lines when it does not."""
    daemon = which("dockerd", environ)
    if daemon is None or os.geteuid() != 0:
        raise PartMissing(otherwise)
    output = cache_dir(environ) / "dockerd.log"
    if Path("/run/systemd/system").is_dir() and (systemctl := which("systemctl", environ)):
        log("systemctl start docker")
        run([systemctl, "start", "docker"], environ=environ, timeout_s=_START_S)
    else:
        log(f"no init system: starting dockerd by hand (its output: {output})")
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("wb") as sink:
            # It has to outlive this command: a session of its own, and nothing of our terminal.
            subprocess.Popen(
                [daemon],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    deadline = time.monotonic() + _START_S
    while not answers():
        if time.monotonic() > deadline:
            tail = "\n".join(output.read_text(errors="replace").splitlines()[-8:]) if output.exists() else ""
            msg = f"the Docker engine did not answer within {_START_S:.0f} s\n{tail}"
            raise PartMissing(msg)
        time.sleep(_POLL_S)
