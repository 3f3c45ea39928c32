"""A link: a port that stays the same for the run, a listener that is open only while there is somebody to reach."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pytest_chaos.errors import ChaosError
from pytest_chaos.wire.connection import Connection, Handler
from pytest_chaos.wire.ends import close_socket, reset_socket
from pytest_chaos.wire.holding import BACKLOG, Connects
from pytest_chaos.wire.probe import look
from pytest_chaos.wire.refusals import Refusals
from pytest_chaos.wire.stub import Stub
from pytest_chaos.wire.table import Active, Step
from pytest_chaos.wire.toxics.flow import shape
from pytest_chaos.wire.world import World

if TYPE_CHECKING:
    from pytest_chaos.wire.kafka.addresses import Advertised

_AT_ONCE = 64
_AGAIN_S = 0.05
_HOST = re.compile(r"[!-~]{1,253}|\[[0-9A-Fa-f:.%]+\]")
"""A name or an address: what a resolver may be asked."""


class Link:
    """One directed edge.

    Its port is held by a bound socket that never listens, so that a closed link refuses and nobody else gets the port.
    """

    def __init__(
        self,
        world: World,
        *,
        name: str,
        host: str,
        port: int = 0,
        identify: Mapping[str, str],
        stub: Stub | None,
        handle: Callable[[Connection], Handler] | None = None,
    ) -> None:
        self.name, self.stub, self.identify, self.handle = name, stub, dict(identify), handle
        self.opaque: dict[str, int] = {}
        """How many connections could not be read, by the reason why."""
        self.protocol = ""
        """The protocol that ``handle`` reads."""
        self.topics: dict[bytes, str] = {}
        """Names of a Kafka's topics by their ids, as the link's connections have heard them."""
        self.advertised: Advertised | None = None
        """What a Kafka's brokers are called towards this link's callers, where it does not call them so itself."""
        self.elsewhere: dict[str, int] = {}
        """Addresses off the link that a Kafka told its callers, with how many answers did."""
        self.upstream: tuple[str, int] | None = None
        self.connections: set[Connection] = set()
        self.probes: set[int] = set()
        """Ports from which the harness itself is about to look through the link."""
        self._world = world
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._hold = _bound(family, host, port)
        self.host, self.port = self._hold.getsockname()[:2]
        self._listener: socket.socket | None = None
        self._refusing: list[Active] = []
        self._refusals: Refusals | None = None
        self._connects = Connects(world, self)
        self._known: set[Active] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def saw_opaque(self, reason: str) -> None:
        """Count a connection of which only bytes can be seen."""
        self.opaque[reason] = self.opaque.get(reason, 0) + 1

    @property
    def listening(self) -> bool:
        """Whether callers can connect."""
        return self._listener is not None

    def advertise(self, mapping: object) -> None:
        """Say what a Kafka's brokers are called from now on (None: as they are); raise ChaosError for nonsense."""
        if mapping is not None and self.protocol != "kafka":
            msg = (
                f"advertise={mapping!r:.80}: must be null where protocol is not kafka: only its addresses are rewritten"
            )
            raise ChaosError(msg)
        from pytest_chaos.wire.kafka.addresses import Advertised  # noqa: PLC0415 - few links need Kafka's layouts

        own = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        self.advertised = None if mapping is None else Advertised(mapping, own=own)
        self.elsewhere.clear()

    def refresh(self) -> None:
        """Open or close the listener, as upstream and rules demand; closing resets every connection. Raises OSError."""
        refusing = self._world.table.refuses(self.name)
        if refusing != self._refusing:
            self._unwatch()
        if refusing or (self.upstream is None and self.stub is None):
            self.shut(fault=refusing[0].rule.fault if refusing else "")
            self._watch(refusing)
        elif self._listener is None:
            listener = _bound(self._hold.family, self.host, self.port)
            listener.listen(BACKLOG)
            self._listener = listener
            self.accept_again()
        if self._listener is not None:
            self._connects.refresh(self._listener)

    def accept_again(self) -> None:
        """Take connections from now on."""
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def accept_no_more(self) -> None:
        """Take the connections that wait, and none from now on."""
        self._accept()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)

    def strike(self) -> None:
        """Let faults act on open connections: those that are new, and byte faults for as long as they are in force."""
        actives = self._world.table.active(self.name)
        for active in actives:
            if active not in self._known and active.rule.kind == "reset_connections" and resets(active, "open"):
                for connection in list(self.connections):
                    self._world.hit(active, link=self.name, attempt="")
                    connection.reset(fault=active.rule.fault)
        self._known = set(actives)
        for connection in list(self.connections):
            shape(connection)

    def ended(self, connection_id: str) -> None:
        """A request on a connection has ended: close the connection when that was the last that a rule allows."""
        for active in self._world.table.active(self.name):
            if active.rule.kind == "close_after_requests" and not active.lifted:
                count = active.by_op[connection_id] = active.by_op.get(connection_id, 0) + 1
                for connection in [one for one in self.connections if one.id == connection_id]:
                    if count == active.rule.params["requests"]:
                        self._world.hit(active, link=self.name, attempt="")
                        # Once what the caller was given has been written.
                        asyncio.get_running_loop().call_soon(connection.close)

    def shut(self, *, fault: str = "") -> None:
        """Refuse from now on, and reset what is connected."""
        self._connects.stop()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        refusing = self._world.table.refuses(self.name)
        for connection in list(self.connections):
            for active in refusing:
                self._world.hit(active, link=self.name, attempt="")
            connection.reset(fault=fault)
        for task in list(self._tasks):
            task.cancel()

    def close(self) -> None:
        """Give the port back."""
        self._unwatch()
        self.shut()
        self._hold.close()

    def _watch(self, refusing: list[Active]) -> None:
        if refusing and self._refusals is None:
            self._refusing = refusing
            with contextlib.suppress(OSError):  # without the right to see packets, nothing is claimed
                self._refusals = Refusals(self.host, self.port, self._refused)

    def _unwatch(self) -> None:
        if self._refusals is not None:
            self._refusals.close()
        self._refusals, self._refusing = None, []

    def _refused(self) -> None:
        for active in self._refusing:
            self._world.hit(active, link=self.name, attempt="")

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            if self._listener is None:
                return
            try:
                sock, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # out of file descriptors: try again when some may have been closed
                listener = self._listener
                loop = asyncio.get_running_loop()
                loop.remove_reader(listener)
                loop.call_later(_AGAIN_S, self._again, listener)
                return
            sock.setblocking(False)
            if self._connects.is_filler(sock):
                sock.close()
            elif peer[1] in self.probes:
                self.probes.discard(peer[1])
                self._world.run(look(sock, self.upstream))
            else:
                self._admit(sock)

    def _again(self, listener: socket.socket) -> None:
        if self._listener is listener and not self._connects.holding:
            asyncio.get_running_loop().add_reader(listener, self._accept)

    def _admit(self, sock: socket.socket) -> None:
        steps = self._world.table.decide_connection(self.name) if self._world.table.watched(self.name) else ()
        steps = tuple(step for step in steps if step.kind != "reset_connections" or resets(step.active, "new"))
        if not steps:
            self._serve(sock)
            return
        task = asyncio.get_running_loop().create_task(self._admit_late(sock, steps))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _admit_late(self, sock: socket.socket, steps: tuple[Step, ...]) -> None:
        world, now = self._world, self._world.now()
        name = world.connection_id()
        try:
            for step in steps:
                if step.active.lifted:
                    continue
                world.hit(step.active, link=self.name, attempt="")
                if step.kind == "slow_connect":
                    await world.pause(step, name, wait_s=step.delay_s)
                    continue
                record = world.begin(
                    link=self.name, connection=name, reused=False, protocol="tcp", connected_ns=now, started_ns=now
                )
                record.faults.append(step.active.rule.fault)
                if step.kind == "reset_connections":
                    reset_socket(sock)
                    world.end(record, error="reset", closed_by="wire")
                else:
                    close_socket(sock)
                    world.end(record, error="eof", closed_by="wire")
                return
        except asyncio.CancelledError:
            reset_socket(sock)
            raise
        self._serve(sock)

    def _serve(self, sock: socket.socket) -> None:
        connection = Connection(self._world, self, sock)
        self.connections.add(connection)
        connection.open()


def _bound(family: socket.AddressFamily | int, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except (OSError, OverflowError, TypeError) as wrong:
        sock.close()
        where = f"listen_host={host!r}, port={port!r}" if port else f"listen_host={host!r}"
        msg = f"{where}: cannot listen there: {wrong}"
        raise ChaosError(msg) from wrong
    return sock


def resets(active: Active, which: str) -> bool:
    """Whether a rule resets open or new connections."""
    return active.rule.params.get("which", "both") in (which, "both")


def parse_upstream(text: str) -> tuple[str, int]:
    """Read ``host:port``; raise ChaosError when it is something else."""
    host, _, port = text.rpartition(":")
    number = int(port) if len(port) <= 5 and port.isascii() and port.isdecimal() else 0
    if not _HOST.fullmatch(host) or not 0 < number < 65536:
        msg = f"upstream={text!r:.300}: must be host:port with a port from 1 to 65535, or null"
        raise ChaosError(msg)
    return host.strip("[]"), number
