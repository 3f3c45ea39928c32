"""Nodes as processes: what is started is found again, wherever it ran off to, and ended whole."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pytest_chaos.errors import StackError
from pytest_chaos.runtimes import procfs
from pytest_chaos.runtimes.base import Exit, NodeRun
from pytest_chaos.runtimes.processes import ProcessRuntime, RunningProcess
from pytest_chaos.runtimes.reaper import Reaper, become_subreaper

# A leader with a child in its own group, and a daemon in a session of its own that keeps nothing but the environment.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
daemon = subprocess.Popen([sys.executable, "-c", '''
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
print("daemon", os.getpid(), flush=True)
time.sleep(600)
'''])
daemon.wait()
print("up", flush=True)
time.sleep(600)
"""
NEVER_TERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


def node(tmp_path: Path, *command: str, name: str = "n", **fields: object) -> NodeRun:
    fields.setdefault("env", {"PATH": os.environ["PATH"]})
    return NodeRun(name=name, run_id=f"t{os.getpid()}", command=command, log=tmp_path / f"{name}.log", **fields)  # type: ignore[arg-type]


def with_runtime(work: Callable[[ProcessRuntime], Awaitable[None]]) -> None:
    async def run() -> None:
        reaper = Reaper()
        reaper.attach()
        runtime = ProcessRuntime(f"t{os.getpid()}", reaper)
        try:
            await asyncio.wait_for(work(runtime), 20)
        finally:
            assert await runtime.close() == []
            reaper.detach()

    _in_a_child(lambda: (become_subreaper(), asyncio.run(run())))


def _in_a_child(work: Callable[[], object]) -> None:
    """Fork: a runtime's close() ends every child of its process and reaps them, other tests' brokers included."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads: the child takes no lock that one may hold
        child = os.fork()
    if child == 0:
        said = b""
        try:
            os.close(reading)
            work()
        except BaseException:  # noqa: BLE001 - whatever it was, the parent tells it
            said = traceback.format_exc().encode()
        os.write(writing, said[-60_000:])
        os._exit(1 if said else 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        pytest.fail(said.decode() or f"the child ended with status {status}", pytrace=False)


async def says(path: Path, word: str) -> str:
    deadline = time.monotonic() + 10
    while word not in (text := path.read_text() if path.exists() else ""):  # noqa: ASYNC240
        assert time.monotonic() < deadline, f"{word!r} never came: {text!r}"
        await asyncio.sleep(0.01)
    return text


async def started(runtime: ProcessRuntime, run: NodeRun) -> RunningProcess:
    running = await runtime.start(run)
    await says(run.log, "up")
    if FAMILY in run.command:
        await says(run.log, "daemon")  # only then are those that made it gone
    return running


def test_kill_ends_the_daemon_that_left_the_session_too(tmp_path: Path) -> None:
    async def work(runtime: ProcessRuntime) -> None:
        running = await started(runtime, node(tmp_path, "python", "-c", FAMILY))
        daemon = int((await says(tmp_path / "n.log", "daemon")).partition("daemon ")[2].split()[0])
        look = procfs.look(daemon)
        assert look is not None
        assert look.session != running.pid
        pids = {member.pid for member in running.members()}
        assert daemon in pids
        assert len(pids) == 3
        await running.kill()
        assert [pid for pid in pids if procfs.look(pid)] == []
        assert str(running.exited.result()) == "ended by SIGKILL"

    with_runtime(work)


def test_killing_one_node_leaves_another_alone(tmp_path: Path) -> None:
    async def work(runtime: ProcessRuntime) -> None:
        one = await started(runtime, node(tmp_path, "python", "-c", FAMILY, name="one"))
        two = await started(runtime, node(tmp_path, "python", "-c", FAMILY, name="two"))
        await one.kill()
        assert len(two.members()) == 3
        assert not two.exited.done()

    with_runtime(work)


def test_stop_kills_what_ignores_sigterm_after_its_grace(tmp_path: Path) -> None:
    async def work(runtime: ProcessRuntime) -> None:
        running = await started(runtime, node(tmp_path, "python", "-c", NEVER_TERM))
        began = time.monotonic()
        await running.stop(grace_s=0.3)
        assert 0.3 <= time.monotonic() - began < 5
        assert running.exited.result() == Exit(signal=signal.SIGKILL)

    with_runtime(work)


def test_stop_lets_a_program_end_by_itself(tmp_path: Path) -> None:
    polite = NEVER_TERM.replace("signal.SIG_IGN", "lambda *_: exit(7)")

    async def work(runtime: ProcessRuntime) -> None:
        running = await started(runtime, node(tmp_path, "python", "-c", polite))
        await running.stop(grace_s=5)
        assert running.exited.result() == Exit(code=7)

    with_runtime(work)


def test_pause_stands_still_and_resume_goes_on(tmp_path: Path) -> None:
    ticking = "import time\nprint('up', flush=True)\nwhile True: print('tick', flush=True); time.sleep(0.02)"

    async def work(runtime: ProcessRuntime) -> None:
        running = await started(runtime, node(tmp_path, "python", "-c", ticking))
        await running.pause()
        size = (tmp_path / "n.log").stat().st_size
        await asyncio.sleep(0.15)
        assert (tmp_path / "n.log").stat().st_size == size
        await running.resume()
        deadline = time.monotonic() + 5
        while (tmp_path / "n.log").stat().st_size == size:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)

    with_runtime(work)


def test_a_paused_node_can_be_killed(tmp_path: Path) -> None:
    async def work(runtime: ProcessRuntime) -> None:
        running = await started(runtime, node(tmp_path, "python", "-c", FAMILY))
        await running.pause()
        await running.kill()
        assert running.members() == []

    with_runtime(work)


def test_close_leaves_nothing_that_carries_the_run(tmp_path: Path) -> None:
    listed = tmp_path / "pids"

    async def work(runtime: ProcessRuntime) -> None:
        running = await started(runtime, node(tmp_path, "python", "-c", FAMILY))
        listed.write_text(" ".join(str(member.pid) for member in running.members()))

    with_runtime(work)
    pids = [int(pid) for pid in listed.read_text().split()]
    assert len(pids) == 3
    assert [pid for pid in pids if procfs.look(pid)] == []


def test_a_node_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    starter = f"""
import asyncio, os, sys
from pathlib import Path
from pytest_chaos.runtimes.base import NodeRun
from pytest_chaos.runtimes.processes import ProcessRuntime
from pytest_chaos.runtimes.reaper import Reaper
async def main():
    reaper = Reaper(); reaper.attach()
    sleeper = ("python", "-c", "import time; time.sleep(600)")
    run = NodeRun(name="n", run_id="x", command=sleeper, env=dict(os.environ), log=Path({str(tmp_path)!r}) / "n.log")
    print((await ProcessRuntime("x", reaper).start(run)).pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""

    async def work(runtime: ProcessRuntime) -> None:
        run = node(tmp_path, sys.executable, "-c", starter, name="starter", env=dict(os.environ))
        running = await runtime.start(run)
        child = int(await says(run.log, "\n"))
        assert procfs.look(child) is not None
        assert running.pid is not None
        os.kill(running.pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while (left := procfs.look(child)) is not None and not left.zombie:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    with_runtime(work)


def test_exit_code_is_told(tmp_path: Path) -> None:
    async def work(runtime: ProcessRuntime) -> None:
        running = await runtime.start(node(tmp_path, "python", "-c", "raise SystemExit(3)"))
        assert str(await running.exited) == "exit code 3"

    with_runtime(work)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"command": ("no-such-program-9",)}, "n: its command 'no-such-program-9' was not found on PATH"),
        ({"command": ("python",), "cwd": "/no/such/folder"}, "n: its folder '/no/such/folder' does not exist"),
        ({"command": ("/dev/null",)}, "n: its command '/dev/null' cannot be run: Permission denied"),
    ],
)
def test_what_cannot_be_started_is_named(tmp_path: Path, fields: dict[str, object], expected: str) -> None:
    async def work(runtime: ProcessRuntime) -> None:
        with pytest.raises(StackError) as caught:
            await runtime.start(
                node(tmp_path, *fields["command"], **{k: v for k, v in fields.items() if k != "command"})
            )  # type: ignore[misc]
        assert str(caught.value).startswith(expected)

    with_runtime(work)


def test_orphans_are_reaped(tmp_path: Path) -> None:
    orphaning = "import os, time\nif os.fork() == 0: time.sleep(0.2); os._exit(0)\nprint('up', flush=True)"

    async def work(runtime: ProcessRuntime) -> None:
        running = await started(runtime, node(tmp_path, "python", "-c", orphaning))
        await running.exited
        me = os.getpid()
        deadline = time.monotonic() + 6
        while [one for one in procfs.scan() if one.ppid == me]:
            assert time.monotonic() < deadline, "an orphan stays a zombie"
            await asyncio.sleep(0.05)

    with_runtime(work)
