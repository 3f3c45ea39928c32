"""How each kind of node is started: services and backings by their command, brokers by their recipe."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pytest_chaos.brokers.base import ProcessPlan, TakePort, recipe_for
from pytest_chaos.errors import StackError
from pytest_chaos.injectors.toxiproxy import ServerPlan, server_plan
from pytest_chaos.keeper import wiring
from pytest_chaos.keeper.clocks import NodeClocks
from pytest_chaos.keeper.home import RunHome
from pytest_chaos.keeper.ports import Ports
from pytest_chaos.keeper.surroundings import Launch
from pytest_chaos.model.plan import NodeSpec, StackSpec
from pytest_chaos.runtimes.base import NodeRun

Receive = Callable[[], Awaitable[dict[str, int]]]
"""Starts the OTLP receiver, if it does not run, and gives its ports by protocol."""


class Launcher:
    """Resolves starts, and remembers each node's ports, so that a restart finds the same ones.

    ``direct`` maps each broker to where it listens for the harness itself, off the links; ``listen_host`` is this
    host's address as nodes reach it.
    """

    clock_at = ""
    """Where a node sees the folder of its clock; empty: where it is."""

    def __init__(self, home: RunHome, receive: Receive) -> None:
        self.listen_host = "127.0.0.1"
        self.clocks = NodeClocks(home)
        self.spec = StackSpec(nodes=(), links=())
        self.environ: dict[str, str] = {}
        self.addresses: Mapping[str, str] = {}
        self.direct: dict[str, str] = {}
        self.pool = Ports()
        self._home = home
        self._receive = receive
        self._ports: dict[str, dict[str, int]] = {}
        self._plans: dict[str, ProcessPlan] = {}

    async def launch(self, node: NodeSpec, override: Mapping[str, str]) -> Launch:
        """Give all that a start of this node needs; raise PartMissing or StackError when it cannot start here."""
        if node.kind == "broker":
            return await self._broker(node)
        run = await self._prepare(node)
        ports, host = self._ports_of(node), self.host(node.name)
        env = dict(run.env)
        if node.kind == "service" and self.spec.otlp:
            env.update(wiring.telemetry(node.name, await self._receive(), host=self.listen_host))
        env.update(
            wiring.resolve(
                node,
                self.spec.links,
                reach=self._reach,
                ports=ports,
                data=self.data(node),
                override=override,
                host=host,
            )
        )
        mounts = self.clocks.settings(node, env, at=self.clock_at) if node.clock else {}
        inward = [link for link in self.spec.links if link.callee == node.name and link.port in ports]
        return Launch(
            run=replace(run, env=env, ports=dict(ports), mounts=mounts),
            ready=node.ready,
            upstreams={link.name: f"{host}:{ports[link.port]}" for link in inward},
        )

    def host(self, node: str) -> str:
        """Give the address that a node listens on."""
        del node
        return "127.0.0.1"

    def data(self, node: NodeSpec) -> Path:
        """Give the folder that a node is told to keep its files in."""
        data = self._home.data(node.name)
        data.mkdir(parents=True, exist_ok=True)
        return data

    async def identity(self, node: NodeSpec) -> str:
        """Give what a start of the node would be made of, beyond its spec and its files; empty when nothing is."""
        del node
        return ""

    async def toxiproxy(self, environ: Mapping[str, str]) -> ServerPlan:
        """Say how the byte-level engine is started; raise PartMissing when it cannot be had."""
        return server_plan(environ, self.pool.take())

    def forget(self, name: str) -> None:
        """Let a node's next start have other ports."""
        for port in self._ports.pop(name, {}).values():
            self.pool.give_back(port)
        plan = self._plans.pop(name, None)
        for port in plan.ports.values() if plan is not None else ():
            self.pool.give_back(port)

    async def wipe(self, node: NodeSpec) -> None:
        """Remove a broker's data; its next start finds what a first one would, on the same ports."""
        plan = self._plans.pop(node.name, None)
        if plan is not None:
            ports = iter(plan.ports.values())
            await asyncio.to_thread(_remove, [self.data(node) / name for name in plan.data])
            await self._plan(node, lambda: next(ports, None) or self.pool.take())

    def ports(self, name: str) -> dict[str, int]:
        """Give a node's ports by name; empty before its first start."""
        plan = self._plans.get(name)
        return dict(plan.ports) if plan is not None else dict(self._ports.get(name, {}))

    async def version(self, node: NodeSpec) -> str:
        """Give the version that a broker reports itself, or the empty string."""
        direct = self.direct.get(node.name)
        return await asyncio.to_thread(recipe_for(node.broker).version, direct, self.environ) if direct else ""

    async def _prepare(self, node: NodeSpec) -> NodeRun:
        """Give a start with what does not depend on the topology: the program and the environment it is born into."""
        if not node.command:
            msg = f"{node.name}: it has no command to run as a process: give it one, or use --chaos-runtime=containers"
            raise StackError(msg)
        return NodeRun(
            name=node.name,
            run_id=self._home.run_id,
            command=node.command,
            env=wiring.inherited(self.environ),
            cwd=str(Path(self.spec.project, node.cwd)),
            log=self._home.node_log(node.name),
        )

    def _ports_of(self, node: NodeSpec) -> dict[str, int]:
        if node.name not in self._ports:
            self._ports[node.name] = {name: self.pool.take() for name in node.ports}
        return self._ports[node.name]

    async def _broker(self, node: NodeSpec) -> Launch:
        if node.name not in self._plans:
            await self._plan(node, self.pool.take)
        plan = self._plans[node.name]
        self.direct[node.name] = plan.direct
        run = NodeRun(
            name=node.name,
            run_id=self._home.run_id,
            command=plan.command,
            env={**wiring.inherited(self.environ), **plan.env},
            cwd=plan.cwd,
            log=self._home.node_log(node.name),
            ports=dict(plan.ports),
        )
        return Launch(run=run, ready=replace(plan.ready), ready_port="tcp", upstreams=dict(plan.upstreams))

    async def _plan(self, node: NodeSpec, take_port: TakePort) -> None:
        links = {link.name: self.addresses[link.name] for link in self.spec.links if link.callee == node.name}
        self._plans[node.name] = await asyncio.to_thread(
            recipe_for(node.broker).prepare, node, self.data(node), links, self.environ, take_port
        )

    def _reach(self, link: str, callee: str) -> str:
        node = self.spec.node(callee)
        address = self.addresses[link]
        return recipe_for(node.broker).address(address) if node.kind == "broker" else address


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
