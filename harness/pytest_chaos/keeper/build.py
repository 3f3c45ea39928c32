"""Puts a run's pieces together: runtime, mesh, launcher, stack, ledger and desk; up and down as one."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import Callable
from typing import Any

from pytest_chaos.errors import ChaosError, UndoError
from pytest_chaos.keeper.around import Around
from pytest_chaos.keeper.contained import ContainerLauncher
from pytest_chaos.keeper.desk import Desk
from pytest_chaos.keeper.fingerprint import fingerprint
from pytest_chaos.keeper.home import RunHome
from pytest_chaos.keeper.launching import Launcher, Receive
from pytest_chaos.keeper.ledger import Ledger
from pytest_chaos.keeper.mesh import WIRE, Mesh
from pytest_chaos.keeper.otlp import Otlp
from pytest_chaos.keeper.stack import Stack
from pytest_chaos.keeper.toxics import Toxics
from pytest_chaos.keeper.traffic import SpoolTraffic
from pytest_chaos.model.plan import NodeSpec, StackSpec
from pytest_chaos.runtimes.base import Runtime
from pytest_chaos.runtimes.containers import ContainerRuntime
from pytest_chaos.runtimes.processes import ProcessRuntime
from pytest_chaos.runtimes.reaper import Reaper


class Built:
    """Everything that serves one stack."""

    def __init__(
        self,
        home: RunHome,
        spec: StackSpec,
        runtime: Runtime,
        on_broken: Callable[[str], None],
        clients: Callable[[], set[int]] = set,
        launcher: Callable[[RunHome, Receive], Launcher] = Launcher,
    ) -> None:
        self.spec = spec
        self._runtime = runtime
        self.broken = on_broken
        self._otlp = Otlp(home.spans_spool)
        self._launcher = launcher(home, self._otlp.start)
        self.mesh = Mesh(home, self._on_wire_event, self, self._launcher.pool.take)
        self.ledger = Ledger(home.ledger, self.mesh.probe)
        self.traffic = SpoolTraffic(home.attempts_spool, lambda: self.mesh.call("mark"))
        self.toxics = Toxics(home, runtime, self._launcher.pool, self._launcher.toxiproxy, self.traffic.between, self)
        self.stack = Stack(home, runtime, self.mesh, self._launcher, self.toxics)
        self.around = Around(home.run_id, self._real_ports, clients)
        self.desk = Desk(self.ledger, self.mesh, self.stack, self.toxics.step, self.stack)
        self._prints: dict[str, str] = {}

    def fits(self, spec: StackSpec) -> bool:
        """Whether the running stack can become that one by restarting nodes alone: same shape, same links."""
        return _shape(self.spec) == _shape(spec)

    async def up(self, spec: StackSpec, environ: dict[str, str], progress: Callable[[str], None]) -> None:
        """Start what does not run, anew what has changed; raise StackError."""
        self._launcher.listen_host = self._otlp.host = await self._runtime.open()
        receiving = asyncio.create_task(self._otlp.start(), name="otlp") if spec.otlp else None
        names = [node.name for node in spec.nodes]
        taken = await asyncio.gather(*(self._print(node, spec, environ) for node in spec.nodes))
        prints = dict(zip(names, taken, strict=True))
        for name, old in self._prints.items():
            if name in self.stack.nodes and prints.get(name) != old:
                progress(f"{name}: has changed since it was started")
                await self.stack.drop(name)
        await self.stack.up(spec, environ, progress)
        if receiving is not None:
            await receiving
        self.spec = spec
        self._prints = prints

    async def down(self, *, graceful: bool) -> list[str]:
        """Remove everything; what was still to be undone goes with it."""
        self.around.stop()
        self.ledger.close()
        left = await self.stack.down(graceful=graceful)
        await self._otlp.stop()
        return left

    def spans_offset(self) -> int:
        """How many bytes of spans have been written."""
        return self._otlp.offset()

    # -- what wire and Toxiproxy tell of themselves -----------------------------------------------------------------

    def died(self, part: str, what: str, log: str) -> None:
        """Note that a part is dead, and which faults went with it."""
        lost = ", ".join(self.desk.lose("wire" if part == WIRE else "toxiproxy")) or "none"
        self.stack.tell(part, "exited", f"{what}; faults of its that were in force: {lost}")
        sys.stderr.write(f"{what}; faults of its that were in force: {lost}\n{log}\n")

    def back(self, part: str, what: str) -> None:
        """Note that a part works again."""
        self.stack.tell(part, "ready", what)

    async def settled(self) -> None:
        """Wait until parts that died are back; raise ChaosError when one stays away, or a fault of a link stayed."""
        await self.mesh.settled()
        await self.toxics.settled()
        if self.ledger.stuck:
            msg = f"the stack is DIRTY, so that nothing can be told by it any more: {'; '.join(self.ledger.stuck)}"
            raise UndoError(msg)

    def _real_ports(self) -> dict[int, str]:
        """Map the ports of this host where nodes really listen to the nodes; containers' are not this host's."""
        if self._runtime.name != "processes":
            return {}
        return {port: node.name for node in self.stack.nodes.values() for port in node.ports.values()}

    async def _print(self, node: NodeSpec, spec: StackSpec, environ: dict[str, str]) -> str:
        made_of = ""
        with contextlib.suppress(ChaosError):  # its start will tell
            made_of = await self._launcher.identity(node)
        return f"{fingerprint(node, spec, environ)} {made_of}"

    def _on_wire_event(self, event: dict[str, Any]) -> None:
        if event.get("event") == "point":
            self.desk.on_point(event)


def build(
    home: RunHome,
    spec: StackSpec,
    reaper: Reaper,
    on_broken: Callable[[str], None],
    clients: Callable[[], set[int]] = set,
) -> Built:
    """Choose the runtime and put the pieces together."""
    here = ProcessRuntime(home.run_id, reaper)
    if spec.runtime == "processes":
        return Built(home, spec, here, on_broken, clients)
    runtime = ContainerRuntime(home.run_id, here, spec.images)
    return Built(home, spec, runtime, on_broken, clients, functools.partial(ContainerLauncher, runtime))


def _shape(spec: StackSpec) -> object:
    nodes = [
        (node.name, node.kind, node.broker, node.ports, node.operations, node.options, node.protocol, node.advertise)
        for node in spec.nodes
    ]
    return (
        sorted(nodes, key=lambda one: one[0]),
        set_of_links(spec),
        spec.runtime,
        spec.injector,
        spec.otlp,
        spec.project,
    )


def set_of_links(spec: StackSpec) -> list[tuple[str, str, bool, tuple[tuple[str, str], ...]]]:
    """Give a spec's links in a comparable form, whatever their order."""
    return sorted((link.name, link.port, link.toxiproxy, tuple(sorted(link.identify.items()))) for link in spec.links)
