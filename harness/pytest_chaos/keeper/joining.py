"""How a client comes to a keeper: this run's, the project's kept one, or a new one."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pytest_chaos.errors import KeeperError
from pytest_chaos.keeper import home as homes
from pytest_chaos.keeper.channel import Channel
from pytest_chaos.keeper.home import RunHome

_HELLO_S = 15.0
_LOCK = ".lock"


def join(run_id: str, *, keep: bool, project: Path | None) -> tuple[RunHome, Channel, bool]:
    """Give a lease's channel and whether it is the run's first client. Several workers of a run may come at once.

    With a kept stack, the run's own folder only tells its workers who came first; :func:`leave` removes it.
    """
    home = homes.run_home(run_id)
    with _begun(home):
        found = connect(home, run_id) if home.socket.exists() else None
        if found is not None:
            return home, found, False
        kept = homes.read_kept(project) if keep and project is not None else None
        if kept is not None and (found := connect(kept, run_id)) is not None:
            return kept, found, _first_here(home)
        return *_spawn(home, keep=keep, project=project), True


def spawn(run_id: str, *, keep: bool, project: Path | None) -> tuple[RunHome, Channel]:
    """Start a keeper for a new run."""
    home = homes.run_home(run_id)
    with _begun(home):
        return _spawn(home, keep=keep, project=project)


def leave(run_id: str, home: RunHome) -> None:
    """Remove the folder of a run that used a kept stack of another one."""
    own = homes.run_home(run_id)
    if own.folder != home.folder:
        shutil.rmtree(own.folder, ignore_errors=True)


def connect(home: RunHome, run_id: str) -> Channel | None:
    """Connect to a running keeper; None when nobody listens, or it serves another run just now."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.connect(str(home.socket))
    except OSError:
        connected.close()
        return None
    channel = Channel(connected)
    with contextlib.suppress(KeeperError):
        if channel.ask("hello", timeout_s=_HELLO_S, run=run_id)["welcome"]:
            return channel
    channel.close()
    return None


@contextlib.contextmanager
def _begun(home: RunHome) -> Iterator[None]:
    """Make the run's folder and hold its lock, so that one client at a time decides who keeps the run."""
    home.folder.mkdir(mode=0o700, exist_ok=True)
    with (home.folder / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _first_here(home: RunHome) -> bool:
    marker = home.folder / "joined"
    first = not marker.exists()
    marker.touch()
    return first


def _spawn(home: RunHome, *, keep: bool, project: Path | None) -> tuple[RunHome, Channel]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest_chaos.keeper",
        "--run-id",
        home.run_id,
        "--run-dir",
        str(home.folder),
    ]
    command += ["--lease-fd", str(theirs.fileno())]
    if project is not None:
        command += ["--project", str(project)]
    if keep:
        command.append("--keep")
    with theirs, home.log.open("ab") as log:
        starter = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    starter.wait()
    channel = Channel(ours)
    try:
        channel.ask("hello", timeout_s=_HELLO_S, run=home.run_id)
    except KeeperError as failed:
        channel.close()
        said = home.log.read_text(errors="replace")[-2000:] if home.log.exists() else ""
        msg = f"the keeper of run {home.run_id} did not start: {failed}\n{said}".rstrip()
        raise KeeperError(msg) from None
    return home, channel
