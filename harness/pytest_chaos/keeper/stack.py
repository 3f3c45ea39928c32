"""The running stack: every node started at once behind links that are open before, and all of it removed again."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from pytest_chaos.brokers.base import Disturbance, recipe_for
from pytest_chaos.errors import ChaosError, PartMissing, StackError
from pytest_chaos.injectors.clock import Clock
from pytest_chaos.injectors.starts import Hold
from pytest_chaos.keeper.home import RunHome
from pytest_chaos.keeper.launching import Launcher
from pytest_chaos.keeper.mesh import Mesh
from pytest_chaos.keeper.node import EventName, Node
from pytest_chaos.keeper.surroundings import Launch
from pytest_chaos.keeper.toxics import Toxics
from pytest_chaos.model.fault import BrokerAction
from pytest_chaos.model.history import NodeEvent
from pytest_chaos.model.plan import StackSpec
from pytest_chaos.runtimes.base import Runtime

Progress = Callable[[str], object]
_GRACE_S = 1.0


class Stack:
    """All nodes of one topology with their links; the injectors' view of nodes."""

    def __init__(self, home: RunHome, runtime: Runtime, mesh: Mesh, launcher: Launcher, toxics: Toxics) -> None:
        self.home = home
        self.mesh = mesh
        self.spec = StackSpec(nodes=(), links=())
        self.nodes: dict[str, Node] = {}
        self.missing: dict[str, str] = {}
        self.events: list[NodeEvent] = []
        self.on_event: Callable[[NodeEvent], object] = id
        self.launcher = launcher
        self._runtime = runtime
        self._toxics = toxics
        self._numbers = itertools.count(1)
        self._versions: dict[str, str] = {}
        self._progress: Progress = len

    async def up(self, spec: StackSpec, environ: Mapping[str, str], progress: Progress) -> None:
        """Start everything, return when all is ready; raise StackError for what did not start, with its last lines."""
        self.spec = spec
        self._progress = progress
        self.launcher.spec, self.launcher.environ, self.launcher.addresses = spec, dict(environ), self.mesh.addresses
        for part, how_to_get in self.launcher.clocks.find(spec, environ).items():
            self.missing[part] = how_to_get
            progress(f"{part}: cannot be had: {how_to_get}")
        await _together(self._start_toxics(spec, environ), self._open_links(spec, environ))
        # Brokers first: they take longest.
        for node in sorted(spec.nodes, key=lambda node: node.kind != "broker"):
            if node.kind != "stub" and node.name not in self.nodes:
                self.nodes[node.name] = Node(node, self._runtime, self, self.tell)
        failures = [failure for failure in await asyncio.gather(*map(self._bring_up, self.nodes.values())) if failure]
        if failures:
            raise StackError("\n".join(failures))
        await asyncio.gather(*(self._ask_version(node) for node in self.nodes.values() if node.spec.kind == "broker"))

    async def down(self, *, graceful: bool) -> list[str]:
        """Remove everything; give what could not be. ``graceful`` gives services a second to end by themselves."""
        if graceful:
            services = [node for node in self.nodes.values() if node.spec.kind == "service" and node.state == "ready"]
            await asyncio.gather(*(node.stop(grace_s=_GRACE_S) for node in services), return_exceptions=True)
        for node in self.nodes.values():
            node.let_go()
        self.mesh.leave()
        self._toxics.leave()
        left = await self._runtime.close()
        await self.mesh.close()
        self.launcher.pool.close()
        return left

    async def drop(self, name: str) -> None:
        """Remove one node for good: the next ``up`` makes it anew."""
        node = self.nodes.pop(name, None)
        if node is not None:
            await node.remove(grace_s=_GRACE_S)

    # -- what nodes ask of their surroundings -----------------------------------------------------------------------

    async def launch(self, node: Node) -> Launch:
        """Resolve what a start of this node needs, now."""
        return await self.launcher.launch(node.spec, node.override)

    def forget_ports(self, node: Node) -> None:
        """Let a node's next start have other ports."""
        self.launcher.forget(node.name)

    async def connect_links(self, _node: Node, launch: Launch) -> None:
        """Point the links into a node at where it listens; through Toxiproxy where the topology names it."""
        await self.mesh.point(await self._toxics.chain(launch.upstreams))

    async def cut_links(self, node: Node) -> None:
        """Close the links into a node."""
        await self.mesh.cut([link.name for link in self.spec.links if link.callee == node.name])

    # -- what injectors ask of nodes --------------------------------------------------------------------------------

    async def act(self, node: str, verb: str) -> str:
        """Do kill, stop, pause, restart, start or resume; say what was seen."""
        one = self.node(node)
        if verb == "restart":
            return await one.restart()
        if verb == "wipe":
            return await self._wipe(one)
        if verb in ("start", "resume"):
            return await one.recover()
        if verb not in ("kill", "stop", "pause"):
            msg = f"verb {verb!r}: must be kill, stop, pause, resume, start, restart or wipe"
            raise ChaosError(msg)
        return str(await getattr(one, verb)())

    def disturbance(self, action: BrokerAction) -> Disturbance:
        """Make what carries out something that a broker itself is made to do; raise StackError where it cannot run."""
        spec = self.node(action.broker).spec
        direct = self.launcher.direct.get(action.broker)
        if direct is None or not spec.broker or self.nodes[action.broker].state == "missing":
            why = self.missing.get(spec.broker, f"it is no broker but a {spec.kind}" if not spec.broker else "")
            msg = f"{action.broker}: cannot be made to {action.verb}: it does not run here. {why}".rstrip(". ")
            raise StackError(msg)
        return recipe_for(spec.broker).disturb(action.broker, direct, action.verb, action.params)

    async def recover(self, node: str) -> str:
        """Have a node running; give the proof."""
        return await self.node(node).recover()

    async def rebuild(self, node: str) -> str:
        """Kill a node and start it anew; give the proof."""
        return await self.node(node).rebuild()

    async def crash(self, node: str, *, after_s: float, spared: asyncio.Event) -> str:
        """Start a node that is down and kill it ``after_s`` s after its start, unless it is spared; say how it died."""
        return await self.node(node).crash(after_s=after_s, spared=spared)

    def hold_starts(self, node: str, by_s: float) -> Hold:
        """Have every start of a node held for ``by_s`` s."""
        return self.node(node).holds.add(by_s)

    async def release_starts(self, node: str, hold: Hold) -> str:
        """Lift a hold; give the proof."""
        return await self.node(node).release(hold)

    def clock(self, node: str) -> Clock:
        """Give a node's clock; raise FaultError saying why it cannot be stepped."""
        one = self.node(node)
        return self.launcher.clocks.steppable(one.spec, one.running)

    def recovery_s(self, node: str) -> float:
        """How long a start of this node may take, s."""
        return self.node(node).recovery_s

    def node(self, name: str) -> Node:
        """Give a node that is a process or a container; raise StackError listing those otherwise."""
        try:
            return self.nodes[name]
        except KeyError:
            known = ", ".join(sorted(self.nodes)) or "none"
            msg = f"{name!r} is no node that can be started or killed; there are: {known}"
            raise StackError(msg) from None

    # -- what clients are told --------------------------------------------------------------------------------------

    async def baseline(self, restart: list[str], env: Mapping[str, Mapping[str, str]]) -> None:
        """Have every node running with just the settings of ``env``, those of ``restart`` fresh."""
        for name in (*restart, *env):
            self.node(name)

        async def one(node: Node) -> None:
            wanted = dict(env.get(node.name, {}))
            if node.state == "missing":
                return
            if node.name in restart or node.override != wanted:
                await node.restart(wanted)
            elif node.state != "ready":
                await node.recover()

        await asyncio.gather(*map(one, self.nodes.values()))

    def running(self) -> list[str]:
        """Name the nodes that are ready."""
        return [node.name for node in self.nodes.values() if node.state == "ready"]

    def describe(self) -> dict[str, Any]:
        """Give what a client needs to know of the stack, as JSON."""
        nodes = list(self.nodes.values())
        return {
            "runtime": self._runtime.name,
            "links": dict(self.mesh.addresses),
            "engines": self._toxics.engines(self.spec),
            "ports": {node.name: self._ports(node) for node in nodes},
            "direct": {
                name: where for name, where in self.launcher.direct.items() if self.nodes[name].state != "missing"
            },
            "missing": dict(self.missing),
            "logs": {node.name: str(self.home.node_log(node.name)) for node in nodes},
            "parts": [
                *self._toxics.parts(),
                *self.launcher.clocks.parts(self._runtime.name),
                {**self._part("wire", "wire", self.mesh.pid, ""), "runtime": "processes"},
                *map(self._node_part, nodes),
            ],
        }

    # ---------------------------------------------------------------------------------------------------------------

    async def _wipe(self, node: Node) -> str:
        """Start a broker without its data; what the harness's own observers had there is back before any link opens."""
        if not node.spec.broker:
            msg = f"{node.name}: is no broker: only a broker's data can be taken away"
            raise StackError(msg)
        direct = self.launcher.direct.get(node.name, "")
        restore = await asyncio.to_thread(recipe_for(node.spec.broker).keep, direct) if direct else lambda: None
        return await node.wipe(lambda: asyncio.to_thread(restore))

    async def wipe_data(self, node: Node) -> None:
        """Remove a node's data; it does not run."""
        await self.launcher.wipe(node.spec)

    async def _start_toxics(self, spec: StackSpec, environ: Mapping[str, str]) -> None:
        self.missing.update(await self._toxics.start(spec, environ, self._progress))

    async def _open_links(self, spec: StackSpec, environ: Mapping[str, str]) -> None:
        if not self.mesh.addresses:
            await self.mesh.start(self._runtime, seed=spec.seed, environ=environ)
        stubs = {node.name: node for node in spec.nodes if node.kind == "stub"}
        protocols = {node.name: node.protocol for node in spec.nodes}
        protocols |= {node.name: recipe_for(node.broker).protocol for node in spec.nodes if node.kind == "broker"}
        await self.mesh.open(spec.links, stubs, protocols, listen_host=self.launcher.listen_host)
        await self.mesh.advertise(spec)

    async def _bring_up(self, node: Node) -> str:
        """Start a node; give why not, or nothing. A part that cannot be had leaves its links refused: no failure."""
        if node.state == "ready":
            return ""
        self._progress(f"{self._title(node)}: starting")
        try:
            await node.start()
        except PartMissing as missing:
            node.state = "missing"
            self.missing[node.spec.broker or node.name] = str(missing)
            self._progress(f"{self._title(node)}: cannot be had: {missing}")
        except ChaosError as failed:
            return str(failed)
        else:
            self._progress(f"{self._title(node)}: ready {node.start_s:.1f} s")
        return ""

    async def _ask_version(self, node: Node) -> None:
        if node.state == "ready" and node.name not in self._versions:
            self._versions[node.name] = await self.launcher.version(node.spec)

    def _title(self, node: Node) -> str:
        return f"{node.spec.broker} {node.name}" if node.spec.broker else node.name

    def tell(self, node: str, event: EventName, detail: str) -> None:
        """Note what happened to a node, or to a part of the keeper's own."""
        told = NodeEvent(id=f"n{next(self._numbers)}", node=node, event=event, at_ns=time.monotonic_ns(), detail=detail)
        self.events.append(told)
        self.on_event(told)

    def _ports(self, node: Node) -> dict[str, str]:
        host = self.launcher.host(node.name)
        return {name: f"{host}:{port}" for name, port in node.ports.items()}

    def _node_part(self, node: Node) -> dict[str, Any]:
        running = node.running
        version = self._versions.get(node.name, "")
        part = self._part(
            node.name, node.spec.broker or node.spec.kind, running.pid if running else None, node.proof_address
        )
        return {**part, "version": version, "container": running.container if running else ""}

    def _part(self, node: str, kind: str, pid: int | None, address: str) -> dict[str, Any]:
        return {"node": node, "kind": kind, "pid": pid, "address": address, "runtime": self._runtime.name}


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    """Do all at once, wait for all, then raise the first failure: nothing goes on behind a failed start."""
    for done in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(done, BaseException):
            raise done
