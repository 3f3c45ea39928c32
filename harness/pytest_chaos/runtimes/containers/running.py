"""One started container: its output into the node's log, its end told, its processes signalled all at once."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from pytest_chaos.errors import StackError
from pytest_chaos.runtimes.base import Exit, NodeRun
from pytest_chaos.runtimes.containers.library import Library

_KILL_S = 10.0
_SIGNALLED = 128
_CONFLICT = 409


class OffLoop(Protocol):
    """Runs something that blocks in a thread, and lets the runtime wait for it when it closes."""

    def __call__(self, work: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
        """Give what it returns; raise what it raises."""


class RunningContainer:
    """One node as a container; ``host`` is its address on the run's network."""

    def __init__(self, run: NodeRun, container: Any, host: str, watch: Watch, library: Library, off: OffLoop) -> None:
        self.container = str(container.id)
        self.exited = watch.exited
        self.pid = int(library.api.inspect_container(container.id)["State"]["Pid"]) or None
        self._run = run
        self._host = host
        self._library = library
        self._off = off
        self._paused = False

    def address(self, port: str) -> str:
        """Give ``host:port`` of a port by its name."""
        return f"{self._host}:{self._run.ports[port]}"

    async def stop(self, *, grace_s: float) -> None:
        """Send the image's stop signal (SIGTERM) to the group; SIGKILL what is left after ``grace_s`` seconds."""
        if self._paused:
            await self.resume()
        grace = math.ceil(grace_s)
        await self._ask("stop", lambda: self._library.api.stop(self.container, timeout=grace))
        await self._ended("a stop", grace + _KILL_S)

    async def kill(self) -> None:
        """SIGKILL; returns when no process of it is left. Raises StackError when one is after 10 s."""
        if not self.exited.done():
            await self._ask("kill", lambda: self._library.api.kill(self.container, signal.SIGKILL))
        await self._ended("SIGKILL", _KILL_S)

    async def pause(self) -> None:
        """Freeze every process of it."""
        await self._ask("pause", lambda: self._library.api.pause(self.container))
        self._paused = True

    async def resume(self) -> None:
        """Let it go on."""
        await self._ask("resume", lambda: self._library.api.unpause(self.container))
        self._paused = False

    async def _ask(self, verb: str, call: Callable[[], object]) -> None:
        try:
            await self._off(call)
        except self._library.errors.APIError as refused:
            if verb in ("kill", "stop") and refused.status_code in (404, _CONFLICT):
                return  # it has ended by itself, or is gone with its run
            msg = f"{self._run.name}: the Docker engine did not {verb} its container: {refused.explanation}"
            raise StackError(msg) from refused

    async def _ended(self, what: str, timeout_s: float) -> None:
        try:
            await asyncio.wait_for(asyncio.shield(self.exited), timeout_s)
        except TimeoutError:
            msg = f"{self._run.name}: {what} did not end container {self.container[:12]} within {timeout_s:g} s"
            raise StackError(msg) from None


class Watch:
    """Follows one start of a container in a thread of its own, from before the start until its end.

    ``exited`` is done when the container has ended and all its output is in the log.
    """

    def __init__(self, run: NodeRun, library: Library, loop: asyncio.AbstractEventLoop) -> None:
        self.exited: asyncio.Future[Exit] = loop.create_future()
        self._run = run
        self._library = library
        self._loop = loop

    def begin(self, container: Any) -> None:
        """Attach to a container that is about to be started."""
        self._run.log.parent.mkdir(parents=True, exist_ok=True)
        output = container.attach(stdout=True, stderr=True, stream=True, logs=False)
        name = f"watch-{self._run.name}"
        threading.Thread(target=self._follow, args=(str(container.id), output), name=name, daemon=True).start()

    def _follow(self, container: str, output: Any) -> None:
        # Whatever ends the stream early (a torn connection, a removed container), the wait below says how it ended.
        torn = contextlib.suppress(OSError, ValueError, self._library.errors.DockerException)
        with torn, self._run.log.open("ab", buffering=0) as log:
            for chunk in output:
                log.write(chunk)
        how = Exit()
        with contextlib.suppress(OSError, self._library.errors.DockerException):
            how = _how(int(self._library.api.wait(container, timeout=None)["StatusCode"]))
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            self._loop.call_soon_threadsafe(self._tell, how)

    def _tell(self, how: Exit) -> None:
        if not self.exited.done():
            self.exited.set_result(how)


def _how(code: int) -> Exit:
    """Tell a signal from a status: the engine reports the one as 128 and its number, as a shell does."""
    return Exit(signal=code - _SIGNALLED) if code > _SIGNALLED else Exit(code=code)
