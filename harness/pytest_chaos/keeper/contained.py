"""How each kind of node is started as a container: its own image, no environment of this host, a plan a broker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_chaos.brokers.base import ContainerPlan, recipe_for
from pytest_chaos.injectors.toxiproxy import ServerPlan, container_plan
from pytest_chaos.keeper.home import RunHome
from pytest_chaos.keeper.launching import Launcher, Receive
from pytest_chaos.keeper.surroundings import Launch
from pytest_chaos.keeper.toxics import TOXIPROXY
from pytest_chaos.model.plan import NodeSpec
from pytest_chaos.runtimes.base import NodeRun
from pytest_chaos.runtimes.containers import DATA, ContainerRuntime


class ContainerLauncher(Launcher):
    """Resolves starts of containers. A service listens on HOST, all addresses of its container."""

    clock_at = "/pytest-chaos-clock"

    def __init__(self, runtime: ContainerRuntime, home: RunHome, receive: Receive) -> None:
        super().__init__(home, receive)
        self._runtime = runtime
        self._contained: dict[str, ContainerPlan] = {}

    def host(self, node: str) -> str:
        """Give the address of a node's container."""
        return self._runtime.host(node)

    def data(self, node: NodeSpec) -> Path:
        """Give the folder of a container that outlives its restarts."""
        del node
        return Path(DATA)

    def forget(self, name: str) -> None:
        """Let a node's next start be planned anew."""
        super().forget(name)
        self._contained.pop(name, None)

    def ports(self, name: str) -> dict[str, int]:
        """Give a node's ports by name; empty before its first start."""
        plan = self._contained.get(name)
        return dict(plan.ports) if plan is not None else super().ports(name)

    async def wipe(self, node: NodeSpec) -> None:
        """Remove a broker's container with its files and its volumes; its next start makes a new one."""
        await self._runtime.wipe(node.name)

    async def identity(self, node: NodeSpec) -> str:
        """Give the content of the node's image."""
        if node.kind == "stub":
            return ""
        return await self._runtime.content(await self._image(node))

    async def toxiproxy(self, environ: Mapping[str, str]) -> ServerPlan:
        """Say how the byte-level engine is started; raise PartMissing when its image cannot be had."""
        del environ
        return container_plan(await self._runtime.image_of_part("toxiproxy"), self.host(TOXIPROXY))

    async def version(self, node: NodeSpec) -> str:
        """Give the version that a broker reports itself, or the empty string."""
        plan = self._contained.get(node.name)
        if plan is None or not plan.version:
            return await super().version(node)
        return plan.version_in(await self._runtime.ask(node.name, plan.version))

    async def _prepare(self, node: NodeSpec) -> NodeRun:
        return self._run(node, image=await self._image(node), command=node.command, env={"HOST": "0.0.0.0"})

    async def _broker(self, node: NodeSpec) -> Launch:
        if node.name not in self._contained:
            links = {link.name: self.addresses[link.name] for link in self.spec.links if link.callee == node.name}
            container = self._runtime.container_name(node.name)
            self._contained[node.name] = recipe_for(node.broker).contain(
                node, host=self.host(node.name), container=container, links=links
            )
        plan = self._contained[node.name]
        image = await self._image(node)
        self.direct[node.name] = plan.direct
        run = self._run(node, image=image, command=plan.command, env=plan.env, ports=plan.ports)
        return Launch(run=run, ready=plan.ready, ready_port="tcp", upstreams=dict(plan.upstreams))

    async def _image(self, node: NodeSpec) -> str:
        if node.kind == "broker":
            return await self._runtime.image_of_part(node.broker)
        return await self._runtime.image_of_node(node.name, node.image)

    def _run(
        self,
        node: NodeSpec,
        *,
        image: str,
        command: tuple[str, ...],
        env: Mapping[str, str],
        ports: Mapping[str, int] | None = None,
    ) -> NodeRun:
        return NodeRun(
            name=node.name,
            run_id=self._home.run_id,
            command=command,
            image=image,
            env=dict(env),
            log=self._home.node_log(node.name),
            ports=dict(ports or {}),
        )

    def _ports_of(self, node: NodeSpec) -> dict[str, int]:
        if node.container_port is not None and node.name not in self._ports:
            self._ports[node.name] = dict.fromkeys(node.ports, node.container_port)
        return super()._ports_of(node)
