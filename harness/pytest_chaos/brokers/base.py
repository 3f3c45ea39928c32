"""What every broker's file offers: a recipe (how its process is started) and an observer (what went through it).

A recipe is data about a start, not the start itself: the keeper starts the process and polls its readiness. ``prepare``
may copy a template folder or run the broker's own formatter, so it blocks (up to a few seconds): call it in a thread
from an event loop.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pytest_chaos.errors import ChaosError
from pytest_chaos.model.message import Message
from pytest_chaos.model.plan import NodeSpec, ReadySpec
from pytest_chaos.registry import Registry

TakePort = Callable[[], int]
Body = bytes | str | Mapping[str, object]
"""A message's body: bytes, text, or an object that goes as JSON (Redis: as the entry's fields)."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessPlan:
    """How one broker is started as a local process; the same plan serves for every restart of it.

    ``env`` comes on top of the node's own. ``ready`` is polled as any node's. ``ports`` maps a listener's name to its
    port; ``tcp`` is the one that readiness and proofs connect to. ``upstreams`` maps each link's name to where wire (or
    Toxiproxy) connects. ``direct`` is what :func:`observer_for` and ``Recipe.version`` are given: never through a link.
    ``daemons`` names processes that leave the process group (and are found by the run's mark in their environment).
    ``data`` names what in its home holds its data: a restart without data removes these and calls ``prepare`` again,
    which is given the same ports in the order of ``ports``.
    """

    command: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    cwd: str
    ready: ReadySpec
    ports: dict[str, int]
    upstreams: dict[str, str]
    direct: str
    daemons: tuple[str, ...] = ()
    data: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """How one broker is started from an image, the public one or one that is laid out like it.

    ``command`` goes to the image's entry point, ``env`` comes on top of the image's own; the rest is as in a
    :class:`ProcessPlan`, with the container's address. ``version`` is a command whose output, run in the container,
    holds the version; empty when ``Recipe.version`` asks the broker itself.
    """

    command: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    ready: ReadySpec
    ports: dict[str, int]
    upstreams: dict[str, str]
    direct: str
    version: tuple[str, ...] = ()

    @staticmethod
    def version_in(output: str) -> str:
        """Give the first version number in a command's output, or the empty string."""
        found = re.search(r"[0-9]+\.[0-9]+\.[0-9]+", output)
        return found[0] if found else ""


class Observer(Protocol):
    """Reads one broker beside its users, never through a link, from one thread at a time.

    Raises ChaosError when the client library is not installed (with the extra to install) or the broker cannot be read.
    """

    def begin(self) -> None:
        """Start a window: what was published before is not listed any more."""
        ...

    def messages(self) -> list[Message]:
        """List what the broker holds of the window: ``published`` first, then how each ended, as far as it tells."""
        ...

    def backlog(self) -> dict[str, int]:
        """Count what waits, by channel and group: lag, ready plus unacked, pending; 0 is drained, -1 is unknown."""
        ...

    def hold(self) -> None:
        """Take in what the broker has of the window: it is about to lose it."""
        ...

    def lost(self, at_ns: int) -> None:
        """Hear that the broker lost its data then: what it holds has begun anew, what was seen before stays seen."""
        ...

    def close(self) -> None:
        """Disconnect and remove what the observer made at the broker; safe to call twice."""
        ...


class Publisher(Protocol):
    """Publishes for the driver, on the driver's own link, from one thread at a time; a connection is made on first use.

    Raises ChaosError when the client library is not installed (with the extra to install).
    """

    def publish(self, channel: str, body: Body, *, key: str, headers: Mapping[str, str], timeout_s: float) -> str:
        """Publish one message and give the broker's own name of it once it is confirmed; raise PublishError.

        ``channel`` is the topic, exchange or stream, ``key`` the record's or routing key.
        """
        ...

    def close(self) -> None:
        """Disconnect; safe to call twice."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Toll:
    """What a disturbance did so far: how often, when first and last (monotonic ns), and how that is known."""

    hits: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    proof: str = ""


class Disturbance(Protocol):
    """One fault that the broker itself is made to play; its methods block, one at a time, for 5 s at most (apply: 30).

    Asks the broker beside all links. Raises FaultError from ``apply`` when it cannot be done as asked, ChaosError when
    the broker does not answer.
    """

    def apply(self) -> None:
        """Note what is to be put back, then do it; what raises is followed by ``undo``."""
        ...

    def undo(self) -> str:
        """Put back what was noted; give the proof, as the broker tells it. Safe to call twice, and without apply."""
        ...

    def toll(self) -> Toll:
        """Count what it did; called before and after ``undo``."""
        ...

    def close(self) -> None:
        """Disconnect; safe to call twice, and what comes after connects anew."""
        ...


class Recipe(Protocol):
    """One kind of broker. Raises PartMissing from ``prepare`` when it cannot be had here."""

    kind: str
    protocol: str
    """What wire reads on its links (``resp``); empty: nothing that wire knows, its bytes are relayed."""

    def prepare(
        self, node: NodeSpec, home: Path, links: Mapping[str, str], environ: Mapping[str, str], take_port: TakePort
    ) -> ProcessPlan:
        """Lay out ``home`` (outlives restarts) and say how to start there.

        ``links`` maps each link to the ``host:port`` that its caller is told; ``take_port`` gives a free loopback port.
        Called again (a lost race for a port) it keeps the broker's data.
        """
        ...

    def contain(self, node: NodeSpec, *, host: str, container: str, links: Mapping[str, str]) -> ContainerPlan:
        """Say how to start in a container called ``container`` whose address is ``host``; ``links`` as in prepare."""
        ...

    def address(self, host_port: str) -> str:
        """Turn a link's ``host:port`` into what a client of this broker is configured with."""
        ...

    def version(self, direct: str, environ: Mapping[str, str]) -> str:
        """Ask the running broker (else its own files) for its version."""
        ...

    def observe(self, name: str, direct: str, options: Mapping[str, Any]) -> Observer:
        """Make an observer; connects on first use."""
        ...

    def publisher(self, name: str, address: str) -> Publisher:
        """Make a publisher on a link; ``address`` is what :meth:`address` gave for it."""
        ...

    def disturb(self, name: str, direct: str, verb: str, params: Mapping[str, Any]) -> Disturbance:
        """Make what carries a :class:`BrokerAction` out; raise FaultError for a verb that this broker has no way to."""
        ...

    def keep(self, direct: str) -> Callable[[], None]:
        """Note what the harness's observers have made at the broker; the result makes it anew after a loss of data."""
        ...


recipes: Registry[Recipe] = Registry("pytest_chaos.brokers")


def recipe_for(kind: str) -> Recipe:
    """Give the recipe of a broker kind; raise ChaosError listing the known kinds otherwise."""
    return recipes.get(kind)


def observer_for(kind: str, direct: str, options: Mapping[str, Any], *, name: str = "") -> Observer:
    """Make the observer of a broker; ``direct`` is its plan's, ``name`` what messages call it (else its kind)."""
    return recipes.get(kind).observe(name or kind, direct, options)


def encoded(body: Body) -> bytes:
    """Give a body's bytes; raise ChaosError when an object cannot be written as JSON."""
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    try:
        return json.dumps(dict(body)).encode()
    except (TypeError, ValueError) as wrong:
        msg = f"message={body!r:.80}: cannot be written as JSON: {wrong}; give bytes, a string or plain values"
        raise ChaosError(msg) from None


class LoopThread:
    """An event loop in a thread of its own: gives asynchronous client libraries to synchronous callers."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T], *, timeout_s: float) -> T:
        """Run a coroutine to its end; raises what it raises, and TimeoutError when it takes longer."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout_s), self._loop).result()

    def stop(self, *, last: Callable[[], object] = lambda: None) -> None:
        """Cancel what still runs, call ``last`` in the loop when that has ended, end the thread; safe to call twice."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(_wind_up(last), self._loop).result(timeout=5.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _wind_up(last: Callable[[], object]) -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    last()
    await asyncio.sleep(0)  # what was closed says so in the loop's next round
