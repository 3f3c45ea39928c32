"""Nodes as local processes: a session each, killed and paused whole, descendants that ran off included."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from pytest_chaos.errors import StackError
from pytest_chaos.runtimes import procfs
from pytest_chaos.runtimes.base import NODE_MARK, RUN_MARK, Exit, NodeRun
from pytest_chaos.runtimes.procfs import Process
from pytest_chaos.runtimes.reaper import Reaper, die_with_parent

_HOST = "127.0.0.1"
_LOOK_EVERY_S = 0.01
_KILL_DEADLINE_S = 10.0
_PAUSE_ROUNDS = 20


class ProcessRuntime:
    """Starts nodes as children of this process; only the keeper's main thread may use it."""

    name = "processes"

    def __init__(self, run_id: str, reaper: Reaper) -> None:
        self._run_id = run_id
        self._reaper = reaper
        self._closed = False

    async def open(self) -> str:
        """Give loopback: processes share this host."""
        return _HOST

    def host(self, node: str) -> str:
        """Give loopback, whatever the node."""
        del node
        return _HOST

    async def start(self, run: NodeRun) -> RunningProcess:
        """Start a command in a session of its own; raise StackError when there is no such command or folder."""
        if self._closed:
            msg = f"{run.name} is not started any more: the stack is being removed"
            raise StackError(msg)
        command = [sys.executable if run.command[0] in ("python", "python3") else run.command[0], *run.command[1:]]
        env = {**run.env, RUN_MARK: run.run_id, NODE_MARK: run.name}
        run.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with run.log.open("ab") as log:
                child = subprocess.Popen(  # noqa: ASYNC220 - one fork, a few ms; the command is the user's own
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=env,
                    cwd=run.cwd or None,
                    start_new_session=True,
                    preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl, which exec keeps
                )
        except (FileNotFoundError, NotADirectoryError) as wrong:
            raise StackError(_not_found(run, str(wrong.filename))) from None
        except OSError as wrong:
            msg = f"{run.name}: its command {run.command[0]!r} cannot be run: {wrong.strerror}"
            raise StackError(msg) from None
        exited = self._reaper.watch(child.pid)
        child.returncode = 0  # the reaper waits for it; without this, Popen would too
        self._reaper.reap()  # it may have ended before it was watched
        return RunningProcess(run, child.pid, exited, self._reaper)

    async def close(self) -> list[str]:
        """Kill everything that carries this run's id or descends from this process; give what stayed."""
        self._closed = True
        me = os.getpid()
        mark = f"{RUN_MARK}={self._run_id}".encode()

        def ours() -> list[Process]:
            everyone = procfs.scan()
            related = procfs.family(everyone, me)
            return [
                one for one in everyone if one.pid != me and (one.pid in related or procfs.carries(one.pid, (mark,)))
            ]

        return await wipe_out(ours, self._reaper)


class RunningProcess:
    """One node as a process, with whatever it started."""

    container = ""

    def __init__(self, run: NodeRun, pid: int, exited: asyncio.Future[Exit], reaper: Reaper) -> None:
        self._run = run
        self.pid = pid
        self.exited = exited
        self._reaper = reaper
        self._marks = (f"{RUN_MARK}={run.run_id}".encode(), f"{NODE_MARK}={run.name}".encode())
        self._relatives: dict[int, int] = {}

    def address(self, port: str) -> str:
        """Give ``127.0.0.1:port`` of a port by its name."""
        return f"{_HOST}:{self._run.ports[port]}"

    async def stop(self, *, grace_s: float) -> None:
        """SIGTERM to the group, then SIGKILL to what is left after ``grace_s`` seconds."""
        for member in self.members():
            if member.session == self.pid:
                procfs.send(member, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.exited), grace_s)
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL to every member until none is left; raise StackError naming what stayed after 10 s."""
        left = await wipe_out(self.members, self._reaper)
        if left:
            msg = f"{self._run.name}: SIGKILL did not end {', '.join(left)} within {_KILL_DEADLINE_S:g} s"
            raise StackError(msg)

    async def pause(self) -> None:
        """SIGSTOP to every member, again until none runs; raise StackError when one cannot be stopped."""
        moving: list[Process] = []
        for _ in range(_PAUSE_ROUNDS):
            moving = [one for one in self.members() if one.state not in ("T", "t", "Z")]
            if not moving:
                return
            for member in moving:
                procfs.send(member, signal.SIGSTOP)
            await asyncio.sleep(_LOOK_EVERY_S)
        msg = f"{self._run.name}: SIGSTOP did not stop processes {', '.join(str(one.pid) for one in moving)}"
        raise StackError(msg)

    async def resume(self) -> None:
        """SIGCONT to every member."""
        for member in self.members():
            procfs.send(member, signal.SIGCONT)

    def members(self) -> list[Process]:
        """Give every process of the node: its session, its descendants, and daemons that carry its marks."""
        everyone = procfs.scan()
        related = procfs.family(everyone, self.pid)
        found = [
            one
            for one in everyone
            if one.pid in related or self._relatives.get(one.pid) == one.started or procfs.carries(one.pid, self._marks)
        ]
        # A relative that has dropped its session, its environment and its parent is still known from an earlier look.
        self._relatives.update((one.pid, one.started) for one in found)
        return found


async def wipe_out(find: Callable[[], list[Process]], reaper: Reaper) -> list[str]:
    """SIGKILL what ``find`` gives, again and again until it gives nothing; give what stayed after 10 s, in words.

    Zombies count until somebody has reaped them; those of another parent are waited for as well.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _KILL_DEADLINE_S
    while True:
        found = find()
        if not found:
            return []
        for process in found:
            if process.zombie:
                reaper.collect(process.pid)
            else:
                procfs.send(process, signal.SIGKILL)
        reaper.reap()
        if loop.time() > deadline:
            return [f"process {one.pid} (state {one.state})" for one in found]
        await asyncio.sleep(_LOOK_EVERY_S)


def _not_found(run: NodeRun, missing: str) -> str:
    if run.cwd and not os.path.isdir(run.cwd):  # noqa: PTH112 - a string from the spec
        return f"{run.name}: its folder {run.cwd!r} does not exist: correct `cwd`, or run from the project's root"
    return (
        f"{run.name}: its command {missing!r} was not found on PATH ({run.env.get('PATH', '')}): "
        f"install it, or correct `command` of the node"
    )
