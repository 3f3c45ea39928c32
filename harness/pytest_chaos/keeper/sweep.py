"""What dead runs left behind: processes and containers that carry a dead run's id, its folder; nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import time
from dataclasses import dataclass, replace

from pytest_chaos.errors import KeeperError
from pytest_chaos.keeper import home
from pytest_chaos.keeper.home import RunHome
from pytest_chaos.runtimes import procfs
from pytest_chaos.runtimes.base import RUN_MARK
from pytest_chaos.runtimes.containers import leftovers
from pytest_chaos.runtimes.processes import wipe_out
from pytest_chaos.runtimes.reaper import Reaper

# A folder without a keeper's note is young while its run begins; after this it is a leftover.
_YOUNG_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was found of one dead run: how many processes, containers and networks went, what stayed, in words."""

    run_id: str
    killed: int
    left: tuple[str, ...] = ()


async def sweep(reaper: Reaper) -> list[Swept]:
    """Remove what dead runs of this user left behind, and give what was found."""
    # Containers tell by their labels who keeps them: they are found even when the run's folder is gone.
    contained = asyncio.create_task(asyncio.to_thread(leftovers.of_dead_runs, os.environ), name="sweep containers")
    found = {run.run_id: await _remove(run, reaper) for run in list(home.runs()) if is_dead(run)}
    _drop_stale_pointers()
    for run_id, (count, left) in (await contained).items():
        one = found.get(run_id, Swept(run_id=run_id, killed=0))
        found[run_id] = replace(one, killed=one.killed + count, left=(*one.left, *left))
    return list(found.values())


def sweep_now() -> list[Swept]:
    """Do the same from a program that has no event loop of its own; for its main thread."""

    async def once() -> list[Swept]:
        return await sweep(Reaper())

    return asyncio.run(once())


def is_dead(run: RunHome) -> bool:
    """Whether nobody keeps this run any more, and nobody is about to."""
    record = home.read_record(run)
    if record is not None:
        return not record.alive
    if _is_locked(run):
        return False
    with contextlib.suppress(OSError):
        return time.time() - run.folder.stat().st_mtime > _YOUNG_S
    return False


async def _remove(run: RunHome, reaper: Reaper) -> Swept:
    mark = f"{RUN_MARK}={run.run_id}".encode()
    seen: set[int] = set()

    def marked() -> list[procfs.Process]:
        # A zombie's environment cannot be read, so what has been killed drops out by itself.
        processes = [one for one in procfs.scan() if one.pid != os.getpid() and procfs.carries(one.pid, (mark,))]
        seen.update(one.pid for one in processes)
        return processes

    left = await wipe_out(marked, reaper)
    if not left:
        shutil.rmtree(run.folder, ignore_errors=True)
    return Swept(run_id=run.run_id, killed=len(seen), left=tuple(left))


def _is_locked(run: RunHome) -> bool:
    try:
        with run.lock.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _drop_stale_pointers() -> None:
    for pointer in home.root().glob("kept-*.json"):
        try:
            run_id = str(json.loads(pointer.read_text())["run_id"])
            record = home.read_record(home.run_home(run_id))
        except (OSError, ValueError, KeyError, TypeError, KeeperError):
            continue
        if record is None or not record.alive:
            pointer.unlink(missing_ok=True)
