"""How a client comes to a keeper: this run's, the project's kept one, or a new one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pytest_chaos.errors import KeeperError
from pytest_chaos.keeper import home as homes
from pytest_chaos.keeper.channel import Channel
from pytest_chaos.keeper.home import RunHome

_HELLO_S = 15.0
_ENDING_S = 20.0
_LOOK_S = 0.02


def join(run_id: str, *, keep: bool, project: Path | None) -> tuple[RunHome, Channel, bool]:
    """Give a lease's channel and whether it is the run's first client. Several workers of a run may come at once.

    With a kept stack, the run's own folder only tells its workers who came first; :func:`leave` removes it.
    """
    home = homes.run_home(run_id)
    deadline = time.monotonic() + _ENDING_S
    while True:
        with _begun(home):
            found = connect(home, run_id) if home.socket.exists() else None
            if found is not None:
                return home, found, False
            kept = homes.read_kept(project) if keep and project is not None else None
            if kept is not None and (found := connect(kept, run_id)) is not None:
                return kept, found, _first_here(home)
            record = homes.read_record(home)
            if record is None or not record.alive:
                return *_spawn(home, keep=keep, project=project), True
        # Its last lease is gone and it is about to end; a worker that comes late gets a new one then.
        if time.monotonic() > deadline:
            msg = f"the keeper of run {run_id} (pid {record.pid}) takes no clients and does not end; see {home.log}"
            raise KeeperError(msg)
        time.sleep(_LOOK_S)


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
        if channel.ask("hello", timeout_s=_HELLO_S, run=run_id, pid=os.getpid())["welcome"]:
            return channel
    channel.close()
    return None


@contextlib.contextmanager
def _begun(home: RunHome) -> Iterator[None]:
    """Make the run's folder and hold its lock, so that one client at a time decides who keeps the run."""
    while (lock := _locked(home)) is None:
        pass  # the run's former keeper has removed the folder in between: once more, in a new one
    with lock:
        yield


def _locked(home: RunHome) -> TextIO | None:
    home.folder.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as opened:
        lock = opened.enter_context(home.lock.open("a"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock.fileno()).st_ino == home.lock.stat().st_ino:
            opened.pop_all()
            return lock
    return None


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
        channel.ask("hello", timeout_s=_HELLO_S, run=home.run_id, pid=os.getpid())
    except KeeperError as failed:
        channel.close()
        said = home.log.read_text(errors="replace")[-2000:] if home.log.exists() else ""
        msg = f"the keeper of run {home.run_id} did not start: {failed}\n{said}".rstrip()
        raise KeeperError(msg) from None
    return home, channel
