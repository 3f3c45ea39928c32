"""Toxiproxy behind wire on the links that the topology names: one more process, a proxy in the chain of each link."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pytest_chaos.errors import FaultError, PartMissing, StackError
from pytest_chaos.injectors.base import Step
from pytest_chaos.injectors.toxiproxy import DoorStep, ServerPlan, Toxiproxy, Traffic, knows
from pytest_chaos.injectors.wire import byte_rule
from pytest_chaos.keeper.home import RunHome
from pytest_chaos.keeper.ports import Ports
from pytest_chaos.keeper.ready import last_lines, wait_ready
from pytest_chaos.keeper.watching import Watch
from pytest_chaos.model.fault import ByteFault, WireRule
from pytest_chaos.model.plan import ReadySpec, StackSpec
from pytest_chaos.runtimes.base import NodeRun, Running, Runtime

TOXIPROXY = "+toxiproxy"
_START_S = 10.0
_DEAD_S = 0.05
Planner = Callable[[Mapping[str, str]], Awaitable[ServerPlan]]
"""Says how the engine is started here; raises PartMissing when it cannot be had."""


class Toxics:
    """The byte-level engine of a stack; nothing of it runs until a link needs it."""

    def __init__(
        self,
        home: RunHome,
        runtime: Runtime,
        pool: Ports,
        planner: Planner,
        traffic: Traffic,
        watch: Watch,
    ) -> None:
        self._home = home
        self._runtime = runtime
        self._pool = pool
        self._planner = planner
        self._traffic = traffic
        self._watch = watch
        self._renewal: asyncio.Task[None] | None = None
        self._plan: ServerPlan | None = None
        self._env: dict[str, str] = {}
        self._running: Running | None = None
        self._engine: Toxiproxy | None = None
        self._wanted: frozenset[str] = frozenset()
        self._missing = ""
        self._version = ""
        self._expected_end = False

    async def start(
        self, spec: StackSpec, environ: Mapping[str, str], progress: Callable[[str], object]
    ) -> dict[str, str]:
        """Start the engine when a link needs it; give what cannot be had, with how to get it."""
        self._wanted = _wanted(spec)
        if not self._wanted or self._engine is not None:
            return {}
        try:
            self._plan = await self._planner(environ)
        except PartMissing as missing:
            self._missing = str(missing)
            progress(f"toxiproxy: cannot be had: {missing}")
            return {"toxiproxy": self._missing}
        self._env = dict(environ)
        self._running = await self._launch(self._plan)
        self._engine = Toxiproxy(
            self._plan.address,
            restart=self._restart,
            traffic=self._traffic,
            listen=self._plan.listen,
            host=self._plan.host,
        )
        self._version = await self._engine.version()
        progress(f"toxiproxy {self._version}: ready")
        return {}

    async def settled(self) -> None:
        """Wait for a restart of the server that is going on; raise StackError when it could not be started anew."""
        if self._renewal is not None:
            await asyncio.shield(self._renewal)

    async def chain(self, upstreams: Mapping[str, str]) -> dict[str, str]:
        """Give where wire has to dial for each link: the callee, or the engine's port that leads there."""
        engine = self._engine
        if engine is None:
            return dict(upstreams)
        await self.settled()
        chained = dict(upstreams)
        for link in sorted(self._wanted & upstreams.keys()):
            # A port of the pool: a restarted server must find it free again.
            port = 0 if engine.has(link) else self._pool.take()
            chained[link] = await engine.add_link(link, upstreams[link], port=port)
        return chained

    def engines(self, spec: StackSpec) -> dict[str, str]:
        """Say which engine carries byte faults out on each link."""
        through = self._wanted if self._engine is not None else frozenset()
        return {link.name: "toxiproxy" if link.name in through else "wire" for link in spec.links}

    def step(self, fault: ByteFault) -> Step | WireRule:
        """Give what carries a byte fault out: a toxic where its link has Toxiproxy, elsewhere a rule of wire's own.

        What Toxiproxy has no word for is wire's everywhere. Raises FaultError when Toxiproxy was named and is missing.
        """
        if fault.link not in self._wanted or not knows(fault.toxic, fault.attributes):
            return byte_rule(fault)
        if self._engine is not None:
            return self._engine.step(fault)
        msg = f"{fault.toxic} on {fault.link}: this link was to have Toxiproxy, which is missing: {self._missing}"
        msg += "; --chaos-injector=wire does byte faults without it"
        raise FaultError(msg)

    def door(self, fault: str) -> tuple[DoorStep, str]:
        """Give what undoes another client's work on the server, and the server's address; raise FaultError."""
        if self._engine is not None and self._plan is not None and self._engine.links:
            return DoorStep(self._engine, fault), self._plan.address
        why = f"Toxiproxy is missing: {self._missing}" if self._missing else "no link of this stack has Toxiproxy"
        msg = f"the toxiproxy fixture: {why}; name links in Topology(..., toxiproxy=[...]), "
        msg += "or have it on every link: --chaos-injector=toxiproxy"
        raise FaultError(msg)

    def parts(self) -> list[dict[str, Any]]:
        """Describe the engine for the journal."""
        if self._plan is None or self._running is None:
            return []
        return [
            {
                "node": "toxiproxy",
                "kind": "toxiproxy",
                "version": self._version,
                "runtime": self._runtime.name,
                "address": self._plan.address,
                "pid": self._running.pid,
                "container": self._running.container,
            }
        ]

    def leave(self) -> None:
        """Expect the server to end from now on."""
        self._expected_end = True
        if self._renewal is not None:
            self._renewal.cancel()

    async def _launch(self, plan: ServerPlan) -> Running:
        log = self._home.node_log(TOXIPROXY)
        run = NodeRun(
            name=TOXIPROXY,
            run_id=self._home.run_id,
            command=plan.command,
            image=plan.image,
            env={} if plan.image else self._env,
            log=log,
            ports={"api": plan.port},
        )
        running = await self._runtime.start(run)
        await wait_ready("toxiproxy", ReadySpec(timeout_s=_START_S), running, log, port="api")
        running.exited.add_done_callback(
            lambda how: None if how.cancelled() else self._ended(running, str(how.result()))
        )
        return running

    async def _restart(self) -> None:
        """Kill a server that is stuck, and start it anew on the same port."""
        if self._plan is None or self._running is None:
            return
        stuck = self._running
        with contextlib.suppress(TimeoutError):
            how = await asyncio.wait_for(asyncio.shield(stuck.exited), _DEAD_S)
            self._tell_death(str(how))
        self._running = None
        await stuck.kill()
        await asyncio.sleep(0)  # lets the watcher see that this end was meant
        self._running = await self._launch(self._plan)
        self._watch.back(TOXIPROXY, f"pid {self._running.pid}, killed and started anew: its links' connections ended")

    def _ended(self, which: Running, how: str) -> None:
        if which is self._running and not self._expected_end and self._engine is not None:
            self._renewal = asyncio.create_task(self._renew(self._engine, which, how), name="toxiproxy anew")

    def _tell_death(self, how: str) -> None:
        said = last_lines("toxiproxy", self._home.node_log(TOXIPROXY))
        self._watch.died(TOXIPROXY, f"Toxiproxy died ({how})", said)

    async def _renew(self, engine: Toxiproxy, dead: Running, how: str) -> None:
        try:
            # An undo that found the server gone may have started it anew meanwhile.
            await engine.renew(toxics=False, needed=lambda: self._running is dead)
        except Exception as failed:
            msg = f"Toxiproxy died ({how}) and could not be started anew: {failed}"
            self._watch.broken(msg)
            raise StackError(msg) from failed
        self._renewal = None


def _wanted(spec: StackSpec) -> frozenset[str]:
    """Choose the links behind which Toxiproxy stands. A stub has no upstream: wire answers itself."""
    stubs = {node.name for node in spec.nodes if node.kind == "stub"}
    if spec.injector == "wire":
        return frozenset()
    return frozenset(
        link.name
        for link in spec.links
        if link.callee not in stubs and (link.toxiproxy or spec.injector == "toxiproxy")
    )
