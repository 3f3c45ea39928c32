"""One node of the stack: started, watched, killed, stopped, paused, resumed; its links closed when it is not there."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

from pytest_chaos.errors import ChaosError, StackError
from pytest_chaos.injectors.starts import Hold
from pytest_chaos.keeper.holds import Holds
from pytest_chaos.keeper.ports import free
from pytest_chaos.keeper.ready import connects, last_lines, wait_ready
from pytest_chaos.keeper.surroundings import Launch, Surroundings
from pytest_chaos.model.plan import NodeSpec
from pytest_chaos.runtimes.base import Exit, Running, Runtime

State = Literal["down", "starting", "ready", "paused", "exited", "missing"]
EventName = Literal["started", "ready", "killed", "stopped", "paused", "resumed", "exited", "wiped"]
Tell = Callable[[str, EventName, str], None]
STOP_GRACE_S = 5.0
_STARTS = 3
_LEAST_START_S = 15.0
_TAKEN = re.compile(
    r"address (is )?already in use|eaddrinuse|only one usage of each socket|errno 98|could not bind", re.IGNORECASE
)


class Node:
    """One node; its verbs exclude each other, and each returns when what it says is true."""

    def __init__(self, spec: NodeSpec, runtime: Runtime, around: Surroundings, tell: Tell) -> None:
        self.spec = spec
        self.state: State = "down"
        self.ports: dict[str, int] = {}
        self.override: dict[str, str] = {}
        self.start_s = 0.0
        self.running: Running | None = None
        self.proof_address = ""
        self.holds = Holds()
        self._runtime = runtime
        self._around = around
        self._tell = tell
        self._busy = asyncio.Lock()
        self._log: Path | None = None
        self._watch: asyncio.Task[None] | None = None
        self._begun: asyncio.Future[None] | None = None
        self._doomed = False
        self._held_s = 0.0

    @property
    def name(self) -> str:
        """The node's name."""
        return self.spec.name

    @property
    def recovery_s(self) -> float:
        """How long a start may take: twice the measured one, at least 15 s, and as long as it is held."""
        return max(_LEAST_START_S, 2 * self.start_s) + self.holds.longest_s

    async def start(self) -> None:
        """Start it and return when it is ready and its links are open; nothing to do when it is. Raises StackError."""
        async with self._busy:
            await self._start()

    async def kill(self) -> str:
        """Close its links, SIGKILL all of it, and return when every process is gone; say which it was."""
        async with self._busy:
            self._alive("be killed")
            return await self._end("killed", grace_s=None)

    async def stop(self, *, grace_s: float = STOP_GRACE_S) -> str:
        """SIGTERM with its links open until it has ended or ``grace_s`` is over, then as ``kill``."""
        async with self._busy:
            self._alive("be stopped")
            return await self._end("stopped", grace_s=grace_s)

    async def pause(self) -> str:
        """Freeze all of it; its links stay open, since a hung callee still accepts."""
        async with self._busy:
            running = self._alive("be paused")
            await running.pause()
            self.state = "paused"
            self._tell(self.name, "paused", f"pid {running.pid}")
            return f"SIGSTOP: every process of {self.name} (pid {running.pid}) stands still"

    async def recover(self) -> str:
        """Have it running: resume it, or start it; give the proof, a TCP connect to its real port."""
        async with self._busy:
            if self.state == "paused" and self.running is not None:
                await self.running.resume()
                self.state = "ready"
                self._tell(self.name, "resumed", f"pid {self.running.pid}")
            await self._start()
            return await self._prove()

    async def restart(self, override: dict[str, str] | None = None, *, grace_s: float = STOP_GRACE_S) -> str:
        """Stop it and start it on the same ports and data; ``override`` replaces its environment's overrides."""
        async with self._busy:
            if override is not None:
                self.override = override
            if self.state == "paused" and self.running is not None:
                await self.running.resume()
            await self._end("stopped", grace_s=grace_s)
            await self._start()
            return await self._prove()

    async def wipe(self, before_links: Callable[[], Awaitable[object]]) -> str:
        """Kill it, remove its data and start it on the same ports; its links open when ``before_links`` is done."""
        async with self._busy:
            self._alive("be wiped")
            gone = await self._end("killed", grace_s=None)
            await self._around.wipe_data(self)
            self._tell(self.name, "wiped", "its data is removed")
            await self._start(before_links)
            return f"{gone}; its data is removed; {await self._prove()}"

    async def rebuild(self) -> str:
        """Kill whatever is there and start anew; give the proof."""
        async with self._busy:
            await self._end("killed", grace_s=None)
            await self._start()
            return await self._prove()

    async def crash(self, *, after_s: float, spared: asyncio.Event) -> str:
        """Start it and SIGKILL it ``after_s`` seconds after its start, ready or not; say how far it had come.

        ``spared`` set in the meantime: it lives, and the answer is empty. Raises StackError when it dies by itself.
        """
        async with self._busy:
            begun = self._begun = asyncio.get_running_loop().create_future()
            starting = asyncio.create_task(self._start(), name=f"start {self.name}")
            try:
                self._doomed = True
                await asyncio.wait((starting, begun), return_when=asyncio.FIRST_COMPLETED)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(spared.wait(), after_s)
                if spared.is_set():
                    await starting
                    return ""
                return await self._die(starting, after_s)
            finally:
                self._doomed = False

    async def release(self, hold: Hold) -> str:
        """Lift a hold on its starts, wait until one that it held has gone on; give the proof."""
        self.holds.lift(hold)
        async with self._busy:
            proof = await self._prove() if self.state == "ready" else f"{self.name} is {self.state}"
            return f"no start is held any more; {proof}"

    async def remove(self, *, grace_s: float) -> None:
        """End whatever is there of it, running or not."""
        async with self._busy:
            await self._end("stopped", grace_s=grace_s)

    def let_go(self) -> None:
        """Do not watch it any more: it is about to go with the whole stack."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _start(self, before_links: Callable[[], Awaitable[object]] | None = None) -> None:
        if self.state in ("ready", "missing") or (self.state == "paused" and self.running is not None):
            return
        self.let_go()
        if self.running is not None:
            # What an ended leader left behind goes first: the next start bears the same marks.
            await self.running.kill()
            self.running = None
        loop = asyncio.get_running_loop()
        first = not self.ports
        for left in reversed(range(_STARTS)):
            began = loop.time()
            try:
                launch = await self._try()
            except StackError as failed:
                if self._doomed or not (left and self._lost_race(str(failed))):
                    raise
                if first:
                    self._around.forget_ports(self)
                continue
            self.start_s = loop.time() - began - self._held_s
            if before_links is not None:
                try:
                    await before_links()
                except BaseException:
                    await self._end("killed", grace_s=None)
                    raise
            await self._around.connect_links(self, launch)
            self.state = "ready"
            self._tell(self.name, "ready", f"{self.start_s:.2f} s")
            return

    async def _try(self) -> Launch:
        launch = await self._around.launch(self)
        self.ports = launch.run.ports
        self.state = "starting"
        self._log = launch.run.log
        log_from = self._log.stat().st_size if self._log.exists() else 0
        try:
            running = self.running = await self._runtime.start(launch.run)
            self._tell(self.name, "started", f"pid {running.pid}" if running.pid else running.container)
            if self._begun is not None and not self._begun.done():
                self._begun.set_result(None)
            self._held_s = await self.holds.stand_still(running)
            port = launch.ready_port or next(iter(launch.run.ports), "")
            await wait_ready(self.name, launch.ready, running, self._log, port=port, log_from=log_from)
        except BaseException:
            self.state = "down"
            if self.running is not None:
                await self.running.kill()
                self.running = None
            raise
        asked = launch.ready.port or port
        self.proof_address = running.address(asked) if asked else ""
        self._watch = asyncio.create_task(self._watch_exit(running), name=f"watch {self.name}")
        return launch

    async def _die(self, starting: asyncio.Task[None], after_s: float) -> str:
        if starting.done() and starting.exception() is None:
            await self._end("killed", grace_s=None)
            return f"{after_s:g} s after its start it was ready and was killed"
        running = self.running
        if running is not None and not starting.done():
            await running.kill()
            await asyncio.gather(starting, return_exceptions=True)
            if starting.exception() is None:  # it became ready at the last moment: its links may be open
                await self._end("killed", grace_s=None)
            else:
                self._tell(self.name, "killed", f"pid {running.pid}")
            return f"{after_s:g} s after its start it was killed before it was ready"
        await starting  # it has failed by itself, and says how
        return ""

    async def _end(self, event: Literal["killed", "stopped"], *, grace_s: float | None) -> str:
        running, self.running = self.running, None
        self.let_go()
        was = self.state
        if was != "missing":
            self.state = "down"
        if running is None:
            return f"{self.name} was not running"
        if grace_s is None:
            # Both at once: the signals go out first, and callers see it gone at the same moment.
            await asyncio.gather(running.kill(), self._around.cut_links(self))
        else:
            await running.stop(grace_s=grace_s)
            await self._around.cut_links(self)
        if was != "exited":
            self._tell(self.name, event, f"pid {running.pid}")
        sign = "SIGKILL" if grace_s is None else "SIGTERM"
        return f"{sign}: no process of {self.name} (pid {running.pid}) is left, and its links refuse"

    async def _watch_exit(self, running: Running) -> None:
        how: Exit = await asyncio.shield(running.exited)
        self.state = "exited"
        self._tell(self.name, "exited", str(how))
        await self._around.cut_links(self)
        await running.kill()  # what its leader left behind
        self._watch = None

    async def _prove(self) -> str:
        if self.state == "missing" or not self.proof_address:
            return f"{self.name} is {self.state}"
        why = await connects(self.proof_address)
        if why:
            log = last_lines(self.name, self._log) if self._log else ""
            msg = f"{self.name}: a TCP connect to {self.proof_address} failed ({why}).\n{log}"
            raise StackError(msg)
        return f"{self.name}: TCP connect to {self.proof_address} succeeded"

    def _alive(self, verb: str) -> Running:
        if self.running is None or self.state not in ("ready", "paused"):
            msg = f"{self.name} cannot {verb}: it is {self.state}; start it first"
            raise ChaosError(msg)
        return self.running

    def _lost_race(self, failure: str) -> bool:
        """Whether it died since somebody else had taken one of its ports in the meantime."""
        return bool(_TAKEN.search(failure)) or any(not free(port) for port in self.ports.values())
