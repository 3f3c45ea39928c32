"""The engine: proxies by link, toxics by fault, and what is done when the server's control plane is stuck."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pytest_chaos.errors import FaultError, UndoError
from pytest_chaos.injectors.toxiproxy.client import (
    Exists,
    NotFound,
    Proxy,
    ServerGone,
    Toxic,
    ToxiproxyClient,
    ToxiproxyError,
    Wedged,
    check,
)
from pytest_chaos.injectors.toxiproxy.evidence import Traffic, bytes_through
from pytest_chaos.injectors.toxiproxy.step import ToxicStep
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
        listen = f"{self._listen}:{port}"
        create = functools.partial(self.client.create, name, listen=listen, upstream=upstream, timeout_s=_APPLY_S)
        try:
            made = await asyncio.to_thread(create)
        except Wedged:
            await self.renew()
            made = await asyncio.to_thread(create)
        address = f"{self._host}:{made.listen.rpartition(':')[2]}"
        self._links[name] = _Link(proxy=name, listen=made.listen, address=address, upstream=upstream)
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

    @property
    def links(self) -> tuple[str, ...]:
        """The links that have a proxy, which bears the link's name."""
        return tuple(self._links)

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
        async with self._repair:
            pass  # a server that is being started anew has not all its proxies yet
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

    async def reset(self) -> str:
        """Have every proxy enabled with this engine's own toxics only, and no other proxy; prove it or raise UndoError.

        Whoever changed them may have left a client that does not read: that wedges the server, and is for ``renew``.
        """
        try:
            async with self._repair:
                await asyncio.to_thread(self._reset)
        except ToxiproxyError as stuck:
            raise UndoError(str(stuck)) from stuck
        return await self.prove_reset()

    async def prove_reset(self) -> str:
        """Give the proof that the server has just this engine's proxies and toxics; raise UndoError."""
        try:
            found = await asyncio.to_thread(self.client.proxies, timeout_s=_LOOK_S)
        except ToxiproxyError as stuck:
            raise UndoError(str(stuck)) from stuck
        wanted = {one.proxy: one for one in self._links.values()}
        wrong = sorted(found.keys() ^ wanted.keys())
        wrong += [name for name, one in found.items() if name in wanted and not _is_as(one, wanted[name])]
        if wrong:
            msg = f"Toxiproxy's proxies are not what they were: {', '.join(wrong)}"
            raise UndoError(msg)
        return f"Toxiproxy lists {len(wanted)} proxies, each enabled, as it was, with no toxic of others"

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

    def _reset(self) -> None:
        found = self.client.proxies(timeout_s=_LOOK_S)
        self.client.reset(timeout_s=_REMOVE_S)
        wanted = {one.proxy: one for one in self._links.values()}
        for name, one in found.items():
            if name not in wanted or (one.listen, one.upstream) != (wanted[name].listen, wanted[name].upstream):
                self.client.delete(name, timeout_s=_REMOVE_S)
        left = self.client.proxies(timeout_s=_LOOK_S)
        for name, link in wanted.items():
            if name not in left:
                self._restore(link)
                continue
            for toxic in link.toxics.values():
                self.client.add_toxic(name, toxic, timeout_s=_APPLY_S)

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
        create = functools.partial(
            self.client.create,
            link.proxy,
            listen=link.listen,
            upstream=link.upstream,
            enabled=False,
            timeout_s=_APPLY_S,
        )
        try:
            create()
        except Exists:
            # By an undo that was given up while its call was under way: a thread cannot be cancelled.
            self.client.delete(link.proxy, timeout_s=_REMOVE_S)
            create()
        for toxic in link.toxics.values():
            self.client.add_toxic(link.proxy, toxic, timeout_s=_APPLY_S)
        self.client.update(link.proxy, enabled=True, timeout_s=_APPLY_S)


def _is_as(found: Proxy, wanted: _Link) -> bool:
    same = (found.listen, found.upstream) == (wanted.listen, wanted.upstream)
    return found.enabled and same and {one.name for one in found.toxics} == set(wanted.toxics)
