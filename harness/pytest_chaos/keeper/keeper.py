"""The keeper's own work: what each request of a client does, and what happens when clients go."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pytest_chaos.errors import KeeperError
from pytest_chaos.keeper import home
from pytest_chaos.keeper.asked import check
from pytest_chaos.keeper.build import Built, build
from pytest_chaos.keeper.home import RunHome
from pytest_chaos.keeper.leases import Lease, Leases
from pytest_chaos.keeper.sweep import sweep
from pytest_chaos.keeper.turns import Turns
from pytest_chaos.model.codec import from_json, to_json
from pytest_chaos.model.fault import Installed, Schedule
from pytest_chaos.model.history import NodeEvent
from pytest_chaos.model.plan import StackSpec
from pytest_chaos.runtimes.reaper import Reaper

# A client that asks for this run just now holds the folder's lock for as long as it waits for an answer.
_FOLDER_S = 5.0
_FOLDER_LOOK_S = 0.01
Operation = Callable[[Lease, dict[str, Any]], Awaitable[dict[str, Any]]]


class Keeper:
    """One run's keeper. ``finished`` is set when everything is removed."""

    def __init__(self, run: RunHome, reaper: Reaper, *, keep: bool, project: Path | None, idle_s: float) -> None:
        self.home = run
        self.leases = Leases(self._answer, self._lost)
        self.finished = asyncio.Event()
        self._reaper = reaper
        self._keep = keep
        self._project = project
        self._idle_s = idle_s
        self._built: Built | None = None
        self._starting: asyncio.Task[None] | None = None
        self._turns = Turns()
        self._ending: asyncio.Task[list[str]] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._broken = ""

    async def begin(self) -> None:
        """Sweep what dead runs left behind; wait for a client, but not for ever."""
        if not self.leases.open:
            self._be_idle()
        for swept in await sweep(self._reaper):
            sys.stderr.write(f"swept run {swept.run_id}: {swept.killed} processes killed {' '.join(swept.left)}\n")

    async def end(self, *, graceful: bool = False) -> list[str]:
        """Remove the whole stack and this run's folder; give what could not be removed. Safe to call twice."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._remove(graceful=graceful), name="end")
        return await asyncio.shield(self._ending)

    # -- clients ----------------------------------------------------------------------------------------------------

    async def _answer(self, lease: Lease, op: str, message: dict[str, Any]) -> dict[str, Any]:
        operations: dict[str, Operation] = {
            "hello": self._hello, "start": self._start, "install": self._install, "uninstall": self._uninstall,
            "door": self._door, "faults": self._faults, "undos": self._undos, "mark": self._mark, "node": self._node,
            "baseline": self._baseline, "running": self._running, "node_events": self._node_events,
            "state": self._state, "around": self._around, "lock": self._lock, "share": self._share,
            "unlock": self._unlock, "bye": self._bye,
        }  # fmt: skip
        if op not in operations:
            msg = f"op {op!r:.80}: must be one of {', '.join(operations)}"
            raise KeeperError(msg)
        check(op, message)
        return await operations[op](lease, message)

    async def _lost(self, lease: Lease) -> None:
        """A client is gone, however it ended: lift its faults; with the last one, remove everything."""
        last = not self.leases.open
        for task in list(lease.tasks):
            task.cancel()
        if last and not self._keeps():
            await self.end()
            return
        await asyncio.gather(*lease.tasks, return_exceptions=True)
        if self._built is not None:
            await self._built.desk.lift_client(None if last else lease.number)
            self._built.desk.forget(lease.number)
        self._turns.give(lease.number)
        if last and self._ending is None:
            if self._keeps():
                self._be_idle()
            else:
                await self.end()

    async def _hello(self, lease: Lease, message: dict[str, Any]) -> dict[str, Any]:
        run = str(message.get("run", ""))
        if self._ending is not None or any(other.run not in ("", run) for other in self.leases.open.values()):
            return {"welcome": False}
        lease.run, lease.pid = run, int(message.get("pid", 0))
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        return {"welcome": True, "run_id": self.home.run_id, "pid": os.getpid(), "folder": str(self.home.folder)}

    async def _bye(self, lease: Lease, _message: dict[str, Any]) -> dict[str, Any]:
        alone = list(self.leases.open.values()) == [lease]
        left: list[str] = []
        if self._built is not None and not (alone and not self._keeps()):
            await self._built.desk.lift_client(lease.number)
        last, dirty = alone and not self._keeps(), self._dirty()
        if last:
            left = await self.end(graceful=True)
        return {"last": last, "left": left, "dirty": dirty}

    # -- the stack --------------------------------------------------------------------------------------------------

    async def _start(self, lease: Lease, message: dict[str, Any]) -> dict[str, Any]:
        spec = from_json(StackSpec, message["spec"], strict=True)
        environ = dict(message.get("environ") or os.environ)

        def progress(line: str) -> None:
            lease.tell({"event": "progress", "text": line})

        if self._built is not None and self._built.spec != spec and self._others(lease):
            msg = "this run's stack is up with another topology: all tests of a run share one chaos_topology"
            raise KeeperError(msg)
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._bring_up(spec, environ, progress), name="start")
        await asyncio.shield(self._starting)
        return {"state": self._described()}

    async def _bring_up(self, spec: StackSpec, environ: dict[str, str], progress: Callable[[str], None]) -> None:
        if self._built is not None and not self._built.fits(spec):
            progress("the topology has changed: everything is started anew")
            await self._take_down()
        if self._built is None:
            self._built = build(self.home, spec, self._reaper, self._useless, self._clients)
        try:
            await self._built.up(spec, environ, progress)
        except BaseException:
            await self._take_down()
            raise
        self._built.stack.on_event = self._tell_event
        if self._keep and self._project is not None:
            kept = home.read_kept(self._project)
            # One stack is kept a project; a second one beside it could never be found again.
            self._keep = kept is None or kept == self.home
            if self._keep:
                home.write_kept(self._project, self.home.run_id)

    async def _state(self, _lease: Lease, _message: dict[str, Any]) -> dict[str, Any]:
        return {"state": self._described()}

    async def _running(self, _lease: Lease, _message: dict[str, Any]) -> dict[str, Any]:
        return {"nodes": self._up().stack.running()}

    async def _node_events(self, _lease: Lease, _message: dict[str, Any]) -> dict[str, Any]:
        return {"events": [to_json(event) for event in self._up().stack.events]}

    async def _node(self, _lease: Lease, message: dict[str, Any]) -> dict[str, Any]:
        stack = self._up().stack
        name, verb, env = str(message["node"]), str(message["verb"]), message.get("env")
        if env is not None and verb == "restart":
            return {"seen": await stack.node(name).restart({str(key): str(value) for key, value in env.items()})}
        return {"seen": await stack.act(name, verb)}

    async def _baseline(self, _lease: Lease, message: dict[str, Any]) -> dict[str, Any]:
        await self._up().settled()
        await self._up().stack.baseline(list(message.get("restart") or ()), dict(message.get("env") or {}))
        return {}

    async def _mark(self, _lease: Lease, _message: dict[str, Any]) -> dict[str, Any]:
        built = self._up()
        built.around.look_soon()
        answer = await built.traffic.mark()
        return {"offset": answer["offset"], "open": answer.get("open", []), "spans_offset": built.spans_offset()}

    async def _around(self, _lease: Lease, message: dict[str, Any]) -> dict[str, Any]:
        built = self._up()
        return {"around": [*await built.around.since(int(message["since_ns"])), *await built.mesh.off_link()]}

    # -- faults -----------------------------------------------------------------------------------------------------

    async def _install(self, lease: Lease, message: dict[str, Any]) -> dict[str, Any]:
        await self._up().desk.install(from_json(Schedule, message["schedule"], strict=True), lease.number)
        return {}

    async def _door(self, lease: Lease, message: dict[str, Any]) -> dict[str, Any]:
        built, owner = self._up(), str(message["owner"])
        step, address = built.toxics.door("toxiproxy")
        opened = Installed(id="toxiproxy", kind="toxiproxy-python", target="every link with Toxiproxy")
        schedule = Schedule(id=f"{owner}#toxiproxy", owner=owner, faults=(opened,))
        await built.desk.install(schedule, lease.number, [step])
        return {"schedule": schedule.id, "address": address}

    async def _uninstall(self, _lease: Lease, message: dict[str, Any]) -> dict[str, Any]:
        records, undone = await self._up().desk.uninstall(str(message["schedule"]))
        return {"faults": [to_json(record) for record in records], "undos": [to_json(undo) for undo in undone]}

    async def _faults(self, _lease: Lease, message: dict[str, Any]) -> dict[str, Any]:
        return {"faults": [to_json(record) for record in await self._up().desk.faults(str(message["owner"]))]}

    async def _undos(self, lease: Lease, _message: dict[str, Any]) -> dict[str, Any]:
        undos = self._built.desk.undos if self._built is not None else []
        return {"undos": [to_json(undo) for who, undo in undos if who == lease.number]}

    # -- turns ------------------------------------------------------------------------------------------------------

    async def _lock(self, lease: Lease, message: dict[str, Any]) -> dict[str, Any]:
        owner, mode = str(message.get("owner", "the test")), message.get("mode", "exclusive")
        if mode not in ("exclusive", "shared"):
            msg = f"mode {mode!r}: must be 'exclusive' or 'shared'"
            raise KeeperError(msg)
        limit_s = float(message.get("limit_s", 60.0))
        alone = bool(message.get("alone"))
        return {"alone": await self._turns.take(lease.number, owner, mode, timeout_s=limit_s, alone=alone)}

    async def _share(self, lease: Lease, _message: dict[str, Any]) -> dict[str, Any]:
        self._turns.share(lease.number)
        return {}

    async def _unlock(self, lease: Lease, _message: dict[str, Any]) -> dict[str, Any]:
        self._turns.give(lease.number)
        return {}

    # ---------------------------------------------------------------------------------------------------------------

    async def _remove(self, *, graceful: bool) -> list[str]:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        left = await self._take_down(graceful=graceful)
        if self._project is not None:
            home.forget_kept(self._project, self.home.run_id)
        if not left:
            await self._remove_folder()
        self.finished.set()
        return left

    async def _remove_folder(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _FOLDER_S
        while not home.try_remove(self.home) and loop.time() < deadline:  # noqa: ASYNC110 - another process's lock
            await asyncio.sleep(_FOLDER_LOOK_S)

    async def _take_down(self, *, graceful: bool = False) -> list[str]:
        built, self._built = self._built, None
        if built is None:
            return []
        left = await built.down(graceful=graceful)
        self._broken = ""
        return left

    def _up(self) -> Built:
        if self._built is None:
            msg = "the stack is not up: start it first"
            raise KeeperError(msg)
        if self._broken:
            raise KeeperError(self._broken)
        return self._built

    def _described(self) -> dict[str, Any]:
        return {**self._up().stack.describe(), "dirty": self._dirty(), "run_id": self.home.run_id}

    def _dirty(self) -> list[str]:
        return list(self._built.ledger.dirty) if self._built is not None else []

    def _keeps(self) -> bool:
        """Whether there is a stack that stays for the next run: never one in which something could not be undone."""
        return self._keep and self._built is not None and not self._broken and not self._dirty()

    def _clients(self) -> set[int]:
        return {lease.pid for lease in self.leases.open.values() if lease.pid}

    def _others(self, lease: Lease) -> bool:
        return any(other is not lease for other in self.leases.open.values())

    def _useless(self, why: str) -> None:
        self._broken = why
        sys.stderr.write(why + "\n")

    def _tell_event(self, event: NodeEvent) -> None:
        if event.event == "exited":
            self._turns.soil()
        for lease in self.leases.open.values():
            lease.tell({"event": "node", **to_json(event)})

    def _be_idle(self) -> None:
        def enough() -> None:
            self._idle = None
            self._ending = asyncio.create_task(self._remove(graceful=True), name="end")

        self._idle = asyncio.get_running_loop().call_later(self._idle_s, enough)
