"""wire and its links: open before any node starts, pointed at a callee when that is ready, closed when it is not.

A wire that dies, or is killed since it hangs, is started anew at once with the same links on the same ports. Its rules
are gone then, and so are the requests that were open; whoever judges is told (``on_death``).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from pytest_chaos.errors import KeeperError
from pytest_chaos.keeper import probing
from pytest_chaos.keeper.home import RunHome
from pytest_chaos.keeper.ready import last_lines
from pytest_chaos.keeper.watching import Watch
from pytest_chaos.keeper.wire_link import Event, WireLink
from pytest_chaos.model.codec import to_json
from pytest_chaos.model.plan import LinkSpec, NodeSpec, StackSpec
from pytest_chaos.runtimes.base import NodeRun, Running, Runtime

# No node can be called this: names begin with a letter.
WIRE = "+wire"
# Names of attempts of each later wire of a run begin this much higher.
_IDS_APART = 1_000_000_000
_DYING_S = 1.0


class Mesh:
    """Every link of a stack. ``addresses`` maps a link's name to where its caller reaches the callee.

    ``port`` gives a port outside the kernel's own choice: a link's port must be free again when wire starts anew.
    """

    def __init__(self, home: RunHome, on_event: Event, watch: Watch, port: Callable[[], int]) -> None:
        self._home = home
        self._on_event = on_event
        self._watch = watch
        self._port = port
        self._command: list[str] = []
        self._environ: dict[str, str] = {}
        self._runtime: Runtime | None = None
        self._starts = 0
        self._wire: WireLink | None = None
        self._running: Running | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._closing = False
        self._opened: dict[str, dict[str, Any]] = {}
        self._upstreams: dict[str, str] = {}
        self.addresses: dict[str, str] = {}

    async def start(self, runtime: Runtime, *, seed: int, environ: Mapping[str, str]) -> None:
        """Start wire and connect to it; raise KeeperError with its last lines when it does not start."""
        home = self._home
        self._command = [sys.executable, "-m", "pytest_chaos.wire", "--control", str(home.wire_socket)]
        self._command += ["--spool", str(home.attempts_spool), "--seed", str(seed)]
        self._environ = dict(environ)
        self._runtime = runtime
        await self._launch()

    @property
    def pid(self) -> int | None:
        """The process of wire."""
        return self._running.pid if self._running else None

    async def call(self, op: str, *, timeout_s: float = 10.0, **fields: object) -> dict[str, Any]:
        """Ask wire for an operation; raise FaultError when it refuses, KeeperError when it is silent or stays away.

        A wire that died is waited for, and the new one is asked: whatever may be asked may be asked twice.
        """
        await self._renewed()
        wire, running = self._wire, self._running
        if wire is None or running is None:
            msg = f"wire does not run, so {op!r} cannot be asked of it: start the stack first"
            raise KeeperError(msg)
        try:
            return await wire.call(op, timeout_s=timeout_s, **fields)
        except KeeperError:
            if not (wire.ended and await self._replaced(running)) or (anew := self._wire) is None:
                raise
        return await anew.call(op, timeout_s=timeout_s, **fields)

    async def settled(self) -> None:
        """Return when wire answers; raise KeeperError when it could not be started anew."""
        await self.call("ping")

    async def renew(self, why: str) -> None:
        """Kill wire and start it anew, with every link on its port and without a rule; raise KeeperError."""
        await self._renewed()
        if self._running is None:
            msg = "wire does not run: start the stack first"
            raise KeeperError(msg)
        self._begin_anew(self._running, f"was killed, since {why}")
        await self._renewed()

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
            fields: dict[str, Any] = {
                "listen_host": listen_host,
                "port": self._port(),
                "protocol": protocols.get(link.callee) or None,
                "identify": dict(link.identify),
                "operations": None if stub is None else to_json(stub.operations),
                "ledger": "" if stub is None else stub.name,
            }
            answer = await self.call("open_link", name=link.name, upstream=None, **fields)
            self._opened[link.name] = {**fields, "port": answer["port"]}
            self.addresses[link.name] = f"{listen_host}:{answer['port']}"

        await asyncio.gather(*(one(link) for link in links if link.name not in self.addresses))

    async def advertise(self, spec: StackSpec) -> None:
        """Have Kafkas that others started call their brokers by each caller's own links; one without keeps its name."""

        async def one(link: LinkSpec, brokers: Mapping[str, str]) -> None:
            found = {broker: self.addresses.get(f"{link.caller} -> {node}") for broker, node in brokers.items()}
            told = {broker: address for broker, address in found.items() if address is not None}
            if self._opened[link.name].get("advertise") != told:
                self._opened[link.name]["advertise"] = told
                await self.call("set_upstream", name=link.name, upstream=self._upstreams.get(link.name), advertise=told)

        named = ((link, spec.node(link.callee).advertise) for link in spec.links)
        await asyncio.gather(*(one(link, brokers) for link, brokers in named if brokers))

    async def off_link(self) -> list[dict[str, Any]]:
        """Give the addresses off its link that a Kafka told a caller: a row for each."""
        told: dict[str, dict[str, int]] = (await self.call("stats"))["elsewhere"]
        rows = []
        for link, addresses in told.items():
            caller, _, callee = link.partition(" -> ")
            about = {"caller": caller, "callee": callee.partition(".")[0]}
            rows += [{**about, "address": address, "told": count} for address, count in addresses.items()]
        return rows

    async def point(self, upstreams: Mapping[str, str]) -> None:
        """Open links to where their callees listen now."""
        self._upstreams.update(upstreams)
        await asyncio.gather(*map(self._told, upstreams))

    async def cut(self, names: list[str]) -> None:
        """Close links: new connections are refused, open ones end; returns when that is true."""
        if self._closing:
            return
        for name in names:
            self._upstreams.pop(name, None)
        await asyncio.gather(*map(self._told, names))

    async def probe(self, link: str) -> str:
        """Look through a link that was healed; say what was seen, raise UndoError when nothing gets through."""
        if link not in self.addresses:
            return ""
        table = await self.call("rules")
        if any(row["rule"]["link"] == link for row in table["rules"]):
            return f"{link} was not looked through: other faults are in force there"
        if link not in self._upstreams and self._opened[link]["operations"] is None:
            return f"{link} leads nowhere: its callee does not run"

        async def announce(port: int) -> None:
            await self.call("probe", name=link, port=port)

        return await probing.through(link, self.addresses[link], lambda: self._upstreams.get(link, ""), announce)

    def leave(self) -> None:
        """Expect wire to end from now on."""
        self._closing = True

    async def close(self) -> None:
        """Let wire lift its faults and exit."""
        self._closing = True
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        if self._wire is not None:
            await self._wire.close()
            self._wire = None
        if self._running is not None:
            await self._running.kill()

    # ---------------------------------------------------------------------------------------------------------------

    async def _launch(self) -> None:
        assert self._runtime is not None
        home, log = self._home, self._home.node_log(WIRE)
        command = (*self._command, "--ids-from", str(self._starts * _IDS_APART + 1))
        self._starts += 1
        run = NodeRun(name=WIRE, run_id=home.run_id, command=command, env=self._environ, log=log, cwd=str(home.folder))
        running = self._running = await self._runtime.start(run)
        try:
            self._wire = await WireLink.connect(
                home.wire_socket, self._on_event, alive=lambda: not running.exited.done()
            )
        except KeeperError as failed:
            msg = f"{failed}.\n{last_lines('wire', log)}"
            raise KeeperError(msg) from None
        running.exited.add_done_callback(
            lambda how: None if how.cancelled() else self._begin_anew(running, f"died ({how.result()})")
        )

    async def _told(self, name: str) -> None:
        """Have wire know where a link leads."""
        await self.call("set_upstream", name=name, upstream=self._upstreams.get(name))

    async def _renewed(self) -> None:
        """Wait for a restart that is going on; raise KeeperError when wire could not be started anew."""
        if self._renewal is not None:
            await asyncio.shield(self._renewal)

    async def _replaced(self, running: Running) -> bool:
        """Wait until there is another wire, if that one has died or is about to be seen dead; False when it lives."""
        if running is self._running and self._renewal is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(running.exited), _DYING_S)
            await asyncio.sleep(0)  # lets whoever watches it begin
        await self._renewed()
        return self._running is not running

    def _begin_anew(self, which: Running, why: str) -> None:
        if self._closing or which is not self._running or self._renewal is not None:
            return
        said = last_lines("wire", self._home.node_log(WIRE))
        self._watch.died(WIRE, f"wire, the proxy on every link, {why}", said)
        self._renewal = asyncio.create_task(self._anew(which, why, said), name="wire anew")

    async def _anew(self, former: Running, why: str, said: str) -> None:
        if self._wire is not None:
            await self._wire.close()
        try:
            await former.kill()  # done before the next one runs, which bears the same marks
            await self._launch()
            wire = self._wire
            assert wire is not None

            async def one(name: str, fields: dict[str, Any]) -> None:
                upstream = self._upstreams.get(name)
                await wire.call("open_link", name=name, upstream=upstream, **fields)
                if self._upstreams.get(name) != upstream:
                    await wire.call("set_upstream", name=name, upstream=self._upstreams.get(name))

            await asyncio.gather(*(one(name, fields) for name, fields in self._opened.items()))
        except Exception as failed:
            msg = f"wire {why} and could not be started anew: {failed}\n{said}"
            self._watch.broken(msg)
            raise KeeperError(msg) from failed
        self._renewal = None
        self._watch.back(WIRE, f"pid {self.pid}, every link on its port, no fault in force")
