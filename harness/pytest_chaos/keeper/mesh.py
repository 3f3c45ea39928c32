"""wire and its links: open before any node starts, pointed at a callee when that is ready, closed when it is not."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any

from pytest_chaos.errors import KeeperError
from pytest_chaos.keeper.home import RunHome
from pytest_chaos.keeper.ready import last_lines
from pytest_chaos.keeper.wire_link import Event, WireLink
from pytest_chaos.model.codec import to_json
from pytest_chaos.model.plan import LinkSpec, NodeSpec
from pytest_chaos.runtimes.base import NodeRun, Running, Runtime

# No node can be called this: names begin with a letter.
WIRE = "+wire"


class Mesh:
    """Every link of a stack. ``addresses`` maps a link's name to where its caller reaches the callee."""

    def __init__(self, home: RunHome, on_event: Event, on_death: Callable[[str], None]) -> None:
        self._home = home
        self._on_event = on_event
        self._on_death = on_death
        self._wire: WireLink | None = None
        self._running: Running | None = None
        self._closing = False
        self._upstreams: dict[str, str] = {}
        self.addresses: dict[str, str] = {}

    async def start(self, runtime: Runtime, *, seed: int, environ: Mapping[str, str]) -> None:
        """Start wire and connect to it; raise KeeperError with its last lines when it does not start."""
        home = self._home
        command = [sys.executable, "-m", "pytest_chaos.wire", "--control", str(home.wire_socket)]
        command += ["--spool", str(home.attempts_spool), "--seed", str(seed)]
        log = home.node_log(WIRE)
        self._running = await runtime.start(
            NodeRun(
                name=WIRE, run_id=home.run_id, command=tuple(command), env=dict(environ), log=log, cwd=str(home.folder)
            )
        )
        running = self._running
        try:
            self._wire = await WireLink.connect(
                home.wire_socket, self._on_event, alive=lambda: not running.exited.done()
            )
        except KeeperError as failed:
            msg = f"{failed}.\n{last_lines('wire', log)}"
            raise KeeperError(msg) from None
        running.exited.add_done_callback(lambda how: None if how.cancelled() else self._died(str(how.result())))

    @property
    def pid(self) -> int | None:
        """The process of wire."""
        return self._running.pid if self._running else None

    async def call(self, op: str, *, timeout_s: float = 10.0, **fields: object) -> dict[str, Any]:
        """Ask wire for an operation; raise FaultError when it refuses, KeeperError when it is gone."""
        if self._wire is None:
            msg = f"wire does not run, so {op!r} cannot be asked of it: start the stack first"
            raise KeeperError(msg)
        return await self._wire.call(op, timeout_s=timeout_s, **fields)

    async def open(
        self,
        links: tuple[LinkSpec, ...],
        stubs: Mapping[str, NodeSpec],
        protocols: Mapping[str, str],
        *,
        listen_host: str,
    ) -> None:
        """Open every link: those into stubs answer from now on, the others refuse until their callee is ready.

        ``protocols`` maps callees to what wire is to read on their links; of others it finds out by the first bytes.
        """

        async def one(link: LinkSpec) -> None:
            stub = stubs.get(link.callee)
            answer = await self.call(
                "open_link",
                name=link.name,
                listen_host=listen_host,
                upstream=None,
                protocol=protocols.get(link.callee) or None,
                identify=dict(link.identify),
                operations=None if stub is None else to_json(stub.operations),
                ledger="" if stub is None else stub.name,
            )
            self.addresses[link.name] = f"{listen_host}:{answer['port']}"

        await asyncio.gather(*(one(link) for link in links if link.name not in self.addresses))

    async def point(self, upstreams: Mapping[str, str]) -> None:
        """Open links to where their callees listen now."""
        for name, upstream in upstreams.items():
            self._upstreams[name] = upstream
        await asyncio.gather(
            *(self.call("set_upstream", name=name, upstream=upstream) for name, upstream in upstreams.items())
        )

    async def cut(self, names: list[str]) -> None:
        """Close links: new connections are refused, open ones end; returns when that is true."""
        if self._closing:
            return
        for name in names:
            self._upstreams.pop(name, None)
        await asyncio.gather(*(self.call("set_upstream", name=name, upstream=None) for name in names))

    def leave(self) -> None:
        """Expect wire to end from now on."""
        self._closing = True

    async def close(self) -> None:
        """Let wire lift its faults and exit."""
        self._closing = True
        if self._wire is not None:
            await self._wire.close()
            self._wire = None
        if self._running is not None:
            await self._running.kill()

    def _died(self, how: str) -> None:
        if not self._closing:
            self._on_death(f"wire died ({how}).\n{last_lines('wire', self._home.node_log(WIRE))}")
