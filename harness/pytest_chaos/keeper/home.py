"""Where runs live on disk: one private folder a user, one folder a run in it, and who keeps it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_chaos.errors import KeeperError
from pytest_chaos.runtimes import procfs

_SOCKET_PATH_LIMIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHome:
    """The folder of one run; every path in it has its one name here."""

    run_id: str
    folder: Path

    @property
    def socket(self) -> Path:
        """Where clients connect."""
        return self.folder / "keeper.sock"

    @property
    def wire_socket(self) -> Path:
        """Where wire is controlled."""
        return self.folder / "wire.sock"

    @property
    def attempts_spool(self) -> Path:
        """What wire appends to."""
        return self.folder / "attempts.spool"

    @property
    def spans_spool(self) -> Path:
        """What the OTLP receiver appends to."""
        return self.folder / "spans.spool"

    @property
    def ledger(self) -> Path:
        """What is to be undone, and what was."""
        return self.folder / "ledger.jsonl"

    @property
    def record(self) -> Path:
        """Who keeps this run."""
        return self.folder / "keeper.json"

    @property
    def lock(self) -> Path:
        """Whoever holds this file's lock decides who keeps the run, or removes the folder."""
        return self.folder / ".lock"

    @property
    def log(self) -> Path:
        """What the keeper says."""
        return self.folder / "keeper.log"

    def data(self, node: str) -> Path:
        """Give the folder that outlives a node's restarts."""
        return self.folder / "data" / node

    def clock(self, node: str) -> Path:
        """Give the folder of a node's clock."""
        return self.folder / "clock" / node

    def node_log(self, node: str) -> Path:
        """Give the file with a node's output."""
        return self.folder / "logs" / f"{node}.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperRecord:
    """Which process keeps a run; ``started`` and ``boot`` tell it from a later one with the same number."""

    run_id: str
    pid: int
    started: int
    boot: str

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        process = procfs.look(self.pid)
        if process is None:
            return not procfs.boot_id() and _exists(self.pid)
        return self.boot == procfs.boot_id() and process.started == self.started and not process.zombie


def root() -> Path:
    """Give this user's folder for runs, made when needed; raise KeeperError when somebody else holds its name."""
    folder = Path(tempfile.gettempdir()) / f"pytest-chaos-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid():
        msg = f"{folder} belongs to somebody else: remove it, or set TMPDIR to a folder of your own"
        raise KeeperError(msg)
    folder.chmod(0o700)
    return folder


def run_home(run_id: str) -> RunHome:
    """Give a run's home, not made yet; raise KeeperError when its socket's path would be too long for the kernel."""
    if not run_id or not all(letter.isalnum() or letter in "-_" for letter in run_id):
        msg = f"run id {run_id!r}: must be letters, digits, dashes and underscores"
        raise KeeperError(msg)
    home = RunHome(run_id=run_id, folder=root() / run_id)
    length = len(os.fsencode(home.socket))
    if length > _SOCKET_PATH_LIMIT:
        limit = f"at most {_SOCKET_PATH_LIMIT}"
        msg = f"{home.socket}: {length} bytes are too long for a Unix socket ({limit}): set TMPDIR to a shorter path"
        raise KeeperError(msg)
    return home


def write_record(home: RunHome) -> None:
    """Note that this process keeps the run."""
    me = procfs.look(os.getpid())
    plain = {"run_id": home.run_id, "pid": os.getpid(), "started": me.started if me else 0, "boot": procfs.boot_id()}
    _write_whole(home.record, plain)


def read_record(home: RunHome) -> KeeperRecord | None:
    """Read who keeps a run; None when nobody ever did, or the note is torn."""
    try:
        plain = json.loads(home.record.read_text())
        return KeeperRecord(
            run_id=str(plain["run_id"]), pid=int(plain["pid"]), started=int(plain["started"]), boot=str(plain["boot"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def runs() -> Iterator[RunHome]:
    """List the runs of this user that have a folder."""
    for folder in sorted(root().iterdir()):
        if folder.is_dir() and not folder.is_symlink():
            yield RunHome(run_id=folder.name, folder=folder)


def kept_pointer(project: Path) -> Path:
    """Give the file that says which run is kept for a project."""
    digest = hashlib.blake2b(os.fsencode(project.resolve()), digest_size=8).hexdigest()
    return root() / f"kept-{digest}.json"


def write_kept(project: Path, run_id: str) -> None:
    """Note which run is kept for a project."""
    _write_whole(kept_pointer(project), {"run_id": run_id, "project": str(project)})


def read_kept(project: Path) -> RunHome | None:
    """Give the run that is kept for a project, when its keeper lives."""
    try:
        home = run_home(str(json.loads(kept_pointer(project).read_text())["run_id"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    record = read_record(home)
    return home if record is not None and record.alive else None


def try_remove(home: RunHome) -> bool:
    """Remove a run's folder, unless a client that is just joining holds its lock; a folder that is gone is removed.

    It is renamed first, in one step: nobody ever sees half of it under the run's name.
    """
    doomed = home.folder.with_name(f".{home.run_id}-{os.getpid()}")
    try:
        with home.lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            home.folder.rename(doomed)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    shutil.rmtree(doomed, ignore_errors=True)
    return True


def forget_kept(project: Path, run_id: str) -> None:
    """Remove the note, if it is about this run."""
    pointer = kept_pointer(project)
    try:
        if json.loads(pointer.read_text())["run_id"] == run_id:
            pointer.unlink()
    except (OSError, ValueError, KeyError, TypeError):
        return


def _write_whole(path: Path, plain: dict[str, object]) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(plain))
    draft.replace(path)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
