"""The engine: proxies by link, toxics by fault, and what is done when the server's control plane is stuck."""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pytest_chaos.errors import FaultError, UndoError
from pytest_chaos.injectors.base import RULE_UNDO_S, Engine, Seen
from pytest_chaos.injectors.toxiproxy.client import (
    Exists,
    NotFound,
    ServerGone,
    Toxic,
    ToxiproxyClient,
    ToxiproxyError,
    Wedged,
    check,
)
from pytest_chaos.injectors.toxiproxy.evidence import Traffic, bytes_through, hits_in
from pytest_chaos.model.fault import ByteFault

Restart = Callable[[], Awaitable[None]]
"""Kills the server and starts it again on the same port; returns when it accepts connections."""

_APPLY_S = 3.0
# A toxic that sleeps is removed when it wakes (reset_peer, at most 4 s); everything else goes at once or not at all.
_REMOVE_S = 2.0
_REMOVE_SLEEPER_S = 4.4
_LOOK_S = 0.5


@dataclass(slots=True)
class _Link:
    """A proxy as it should be; what a restarted server is told again."""

    proxy: str
    listen: str
    address: str
    upstream: str
    toxics: dict[str, Toxic] = field(default_factory=dict)


class Toxiproxy:
    """Carries byte faults out on the links that were added.

    ``restart`` is the last resort when the control plane does not answer; it ends every connection of every link of
    this server. Its proxies listen on ``listen``, and wire finds them on ``host``. ``traffic`` tells what wire saw on a
    link; without it only connections that ended prove a hit.
    """

    def __init__(
        self,
        address: str,
        *,
        restart: Restart,
        traffic: Traffic | None = None,
        listen: str = "127.0.0.1",
        host: str = "127.0.0.1",
    ) -> None:
        self.client = ToxiproxyClient(address)
        self.traffic = traffic
        self._restart = restart
        self._listen = listen
        self._host = host
        self._links: dict[str, _Link] = {}
        self._repair = asyncio.Lock()

    async def version(self) -> str:
        """Give the version that the server reports."""
        return await asyncio.to_thread(self.client.version)

    async def add_link(self, name: str, upstream: str, *, port: int = 0) -> str:
        """Put a proxy in front of ``upstream`` (``host:port``), or point the one that is there; give its address."""
        if name in self._links:
            await self.set_upstream(name, upstream)
            return self._links[name].address
        proxy = re.sub(r"[^a-z0-9]+", "-", f"{name}-{len(self._links) + 1}")
        listen = f"{self._listen}:{port}"
        create = functools.partial(
            self.client.create, proxy, listen=listen, upstream=upstream, timeout_s=_APPLY_S
        )
        try:
            made = await asyncio.to_thread(create)
        except Wedged:
            await self.renew()
            made = await asyncio.to_thread(create)
        address = f"{self._host}:{made.listen.rpartition(':')[2]}"
        self._links[name] = _Link(proxy=proxy, listen=made.listen, address=address, upstream=upstream)
        return address

    async def set_upstream(self, name: str, upstream: str) -> None:
        """Point a link's proxy elsewhere; its connections end. Nothing happens when it points there already."""
        link = self._links[name]
        if link.upstream == upstream:
            return
        link.upstream = upstream
        try:
            await asyncio.to_thread(self.client.update, link.proxy, upstream=upstream, timeout_s=_REMOVE_S)
        except (Wedged, ServerGone):
            # It ends the proxy's connections, and a deaf one, or a dial that hangs, stops the server for good.
            await self.renew()

    async def renew(self, *, toxics: bool = True, needed: Callable[[], bool] = lambda: True) -> None:
        """Kill the server and start it anew, every proxy on its port, with or without the toxics; raise ChaosError.

        ``needed`` is asked once no other repair is going on.
        """
        async with self._repair:
            if needed():
                await self._renew(toxics=toxics)

    def has(self, name: str) -> bool:
        """Whether this engine has a proxy on a link."""
        return name in self._links

    def step(self, fault: ByteFault) -> ToxicStep:
        """Give the reversible step of one fault; raise FaultError when it is out of range or its link has no proxy."""
        if fault.link not in self._links:
            named = f"Topology(..., toxiproxy=[{fault.link!r}])"
            msg = (
                f"{fault.toxic} on {fault.link}: it has no Toxiproxy; name it in {named}, or --chaos-injector=toxiproxy"
            )
            raise FaultError(msg)
        check(fault.toxic, fault.attributes)
        return ToxicStep(self, fault)

    async def add(self, fault: ByteFault) -> None:
        """Add a fault's toxic; raise FaultError when the server refuses it or does not answer."""
        link = self._links[fault.link]
        toxic = Toxic(name=fault.id, type=fault.toxic, stream=fault.stream, attributes=dict(fault.attributes))
        try:
            await asyncio.to_thread(self.client.add_toxic, link.proxy, toxic, timeout_s=_APPLY_S)
        except Exists:
            pass
        except ToxiproxyError as refused:
            msg = f"{fault.toxic} on {fault.link}: {refused}"
            raise FaultError(msg) from refused
        link.toxics[fault.id] = toxic

    async def remove(self, fault: ByteFault) -> str:
        """Remove a fault's toxic and give the proof; raise UndoError when the server is stuck or lists it."""
        link = self._links[fault.link]
        link.toxics.pop(fault.id, None)
        wait_s = _REMOVE_SLEEPER_S if fault.toxic == "reset_peer" else _REMOVE_S
        try:
            await asyncio.to_thread(self.client.remove_toxic, link.proxy, fault.id, timeout_s=wait_s)
        except NotFound:
            pass
        except ToxiproxyError as stuck:
            raise UndoError(str(stuck)) from stuck
        return await self._prove_gone(link, fault)

    async def rebuild(self, fault: ByteFault) -> str:
        """Start the server anew with every proxy and every other toxic as they were; give the proof."""
        link = self._links[fault.link]
        link.toxics.pop(fault.id, None)
        async with self._repair:
            try:
                return await self._prove_gone(link, fault)  # another step's restart has taken it along
            except UndoError:
                pass
            await self._renew(toxics=True)
            return f"{await self._prove_gone(link, fault)} (after its restart)"

    async def bytes(self, fault: ByteFault) -> int:
        """Give the bytes in the fault's direction that connections which have ended moved since the server started."""
        link = self._links[fault.link]
        metrics = await asyncio.to_thread(self.client.metrics, timeout_s=_LOOK_S)
        return bytes_through(metrics, link.proxy, fault.stream)

    async def _prove_gone(self, link: _Link, fault: ByteFault) -> str:
        try:
            proxy = await asyncio.to_thread(self.client.proxy, link.proxy, timeout_s=_LOOK_S)
        except ToxiproxyError as stuck:
            raise UndoError(str(stuck)) from stuck
        if any(toxic.name == fault.id for toxic in proxy.toxics):
            msg = f"Toxiproxy still lists {fault.toxic} on {fault.link}"
            raise UndoError(msg)
        return f"Toxiproxy lists no {fault.id} on {fault.link}; open={proxy.enabled}"

    async def _renew(self, *, toxics: bool) -> None:
        await self._restart()
        try:
            for one in self._links.values():
                if not toxics:
                    one.toxics.clear()
                await asyncio.to_thread(self._restore, one)
        except ToxiproxyError as refused:
            msg = f"the restarted Toxiproxy refused what it had before: {refused}"
            raise UndoError(msg) from refused

    def _restore(self, link: _Link) -> None:
        """Create a proxy closed, give it its toxics, open it: no connection slips by."""
        self.client.create(link.proxy, listen=link.listen, upstream=link.upstream, enabled=False, timeout_s=_APPLY_S)
        for toxic in link.toxics.values():
            self.client.add_toxic(link.proxy, toxic, timeout_s=_APPLY_S)
        self.client.update(link.proxy, enabled=True, timeout_s=_APPLY_S)


class ToxicStep:
    """One byte fault as a reversible step."""

    engine: Engine = "toxiproxy"
    undo_timeout_s = RULE_UNDO_S

    def __init__(self, toxiproxy: Toxiproxy, fault: ByteFault) -> None:
        self._toxiproxy = toxiproxy
        self._fault = fault
        self._applied_ns = 0
        self._lifted_ns: int | None = None
        self._bytes_before = 0

    @property
    def faults(self) -> tuple[str, ...]:
        """The one fault that this toxic belongs to."""
        return (self._fault.fault,)

    @property
    def action(self) -> str:
        """The toxic with its attributes, the stream and the link."""
        values = ", ".join(f"{name}={value}" for name, value in self._fault.attributes.items())
        return f"toxic {self._fault.toxic}({values}) {self._fault.stream} on {self._fault.link}"

    @property
    def links(self) -> tuple[str, ...]:
        """The one link."""
        return (self._fault.link,)

    async def apply(self) -> None:
        """Add the toxic to the link's open and future connections."""
        self._bytes_before = await self._bytes()
        self._applied_ns = time.monotonic_ns()
        await self._toxiproxy.add(self._fault)

    async def undo(self) -> str:
        """Remove the toxic; the proof is the server's own list."""
        proof = await self._toxiproxy.remove(self._fault)
        self._lifted_ns = self._lifted_ns or time.monotonic_ns()
        return proof

    async def escalate(self) -> str:
        """Start the server anew without the toxic."""
        proof = await self._toxiproxy.rebuild(self._fault)
        self._lifted_ns = self._lifted_ns or time.monotonic_ns()
        return proof

    async def seen(self) -> dict[str, Seen]:
        """Tell what went through the link while the toxic was there; else the bytes of connections that ended since."""
        until = self._lifted_ns or time.monotonic_ns()
        seen = Seen()
        if self._applied_ns and self._toxiproxy.traffic is not None:
            attempts = await self._toxiproxy.traffic(self._fault.link, self._applied_ns, until)
            seen = hits_in(self._fault, attempts, self._applied_ns, until)
        if not seen.hits and self._applied_ns:
            moved = await self._bytes() - self._bytes_before
            if moved > 0:
                seen = Seen(
                    hits=1, proof=f"Toxiproxy moved {moved} bytes {self._fault.stream} on {self._fault.link} since"
                )
        return {self._fault.fault: seen}

    async def _bytes(self) -> int:
        try:
            return await self._toxiproxy.bytes(self._fault)
        except ToxiproxyError:
            return 0
