"""Nodes as containers, through testcontainers: one network a run, every node at an address of its own on it.

wire stays on the host: it listens on the network's gateway for the containers and dials their own addresses, so that
what a caller sees (a refused connect, a reset, a half-closed connection) is what the callee's kernel did, with no
forwarding process between them. Nothing is published.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pytest_chaos.errors import PartMissing, StackError
from pytest_chaos.runtimes.base import NodeRun, Running, Runtime
from pytest_chaos.runtimes.containers import images, labels, leftovers, network
from pytest_chaos.runtimes.containers.library import DATA, Library, empty_data
from pytest_chaos.runtimes.containers.running import RunningContainer, Watch

__all__ = ["DATA", "ContainerRuntime"]

_THREADS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A container that was made for a node, and what it was made from."""

    id: str
    recipe: tuple[object, ...]


class ContainerRuntime:
    """Starts nodes as containers; the harness's own programs, which have no image, by the runtime for this host."""

    name = "containers"

    def __init__(self, run_id: str, local: Runtime, settings: Mapping[str, str]) -> None:
        self._run_id = run_id
        self._local = local
        self._settings = settings
        self._pool = ThreadPoolExecutor(_THREADS, "containers")
        self._under_way: set[asyncio.Future[Any]] = set()
        self._closing = False
        self._made: dict[str, _Made] = {}
        self._opened: tuple[Library, network.RunNetwork] | None = None

    async def open(self) -> str:
        """Make the run's network; give the address of this host on it. Raises PartMissing without a Docker engine."""
        if self._opened is None:
            library = await self._off(Library)
            self._opened = library, await self._off(lambda: network.make(library, self._run_id))
        return self._opened[1].gateway

    def host(self, node: str) -> str:
        """Give where a node listens, seen from this host and from other nodes; the same over restarts."""
        return self._open[1].address(node)

    def container_name(self, node: str) -> str:
        """Give the name of a node's container."""
        return f"pytest-chaos-{self._run_id}-{node.lstrip('+')}"

    async def image_of_part(self, name: str) -> str:
        """Choose a real part's image, pulled if it must be; raise PartMissing when it cannot be had."""
        return await self._choose(name, images.of_part(name, self._settings))

    async def image_of_node(self, name: str, declared: str) -> str:
        """Choose the image of a service or a backing; raise StackError when there is none."""
        try:
            return await self._choose(name, images.of_node(name, declared, self._settings))
        except PartMissing as missing:
            # It is the system under test: without it there is nothing to skip to.
            raise StackError(str(missing)) from None

    async def content(self, image: str) -> str:
        """Give the content that an image's name stands for now, which tells a rebuilt one."""
        return str(await self._off(functools.partial(self._open[0].image_id, image)))

    async def _choose(self, name: str, wanted: tuple[str, ...]) -> str:
        library = self._open[0]
        why = ""
        for pull in (False, True):
            for image in wanted:
                why = await self._off(functools.partial(library.has, image, pull=pull))
                if not why:
                    return image
        if not wanted:
            msg = f"{name}: it has no image to run as a container: give it one, or use --chaos-runtime=processes"
            raise PartMissing(msg)
        variable = f"PYTEST_CHAOS_IMAGE_{name.upper().replace('-', '_')}"
        msg = (
            f"{name}: its image {wanted[0]} is not here and cannot be pulled ({why}): "
            f"build or pull it, or name another (ini `chaos_images`, or {variable})"
        )
        raise PartMissing(msg)

    async def start(self, run: NodeRun) -> Running:
        """Start a container: the node's former one, with its files, when nothing about it has changed, else a new one.

        A new one takes the former one's DATA folder over. Raises StackError when the engine refuses.
        """
        if not run.image:
            return await self._local.start(run)
        library, _ = self._open
        watch = Watch(run, library, asyncio.get_running_loop())
        try:
            container = await self._off(lambda: self._start(library, run, watch))
        except library.errors.APIError as refused:
            msg = f"{run.name}: its container (image {run.image}) cannot be started: {refused.explanation or refused}"
            raise StackError(msg) from refused
        make = functools.partial(RunningContainer, run, container, self.host(run.name), watch, library, self._off)
        running: RunningContainer = await self._off(make)
        return running

    async def wipe(self, node: str) -> None:
        """Remove a node's container, which does not run, and all that it kept; raise StackError when that fails."""
        library, _ = self._open
        former = self._made.pop(node, None)
        if former is None:
            return
        try:
            await self._off(lambda: library.api.remove_container(former.id, force=True, v=True))
        except library.errors.APIError as refused:
            msg = f"{node}: its container cannot be removed with its data: {refused.explanation or refused}"
            raise StackError(msg) from refused

    async def ask(self, node: str, command: tuple[str, ...]) -> str:
        """Run a command in a node's container and give its output; empty when that cannot be done."""
        library, _ = self._open

        def exec_it() -> str:
            made = library.api.exec_create(self._made[node].id, list(command))
            return str(library.api.exec_start(made["Id"]).decode(errors="replace"))

        try:
            return str(await self._off(exec_it))
        except (KeyError, library.errors.APIError):
            return ""

    async def close(self) -> list[str]:
        """Remove everything that carries the run's label, and what runs on this host; give what stayed."""
        self._closing = True
        await asyncio.gather(*self._under_way, return_exceptions=True)
        work = asyncio.get_running_loop().run_in_executor(None, leftovers.remove, os.environ, self._run_id)
        (_, left), here = await asyncio.gather(work, self._local.close())
        self._pool.shutdown(wait=False)
        return [*left, *here]

    @property
    def _open(self) -> tuple[Library, network.RunNetwork]:
        if self._opened is None:
            msg = "the containers' network is not made yet"
            raise StackError(msg)
        return self._opened

    def _start(self, library: Library, run: NodeRun, watch: Watch) -> Any:
        """Blocks."""
        told = (tuple(sorted(run.env.items())), tuple(sorted(run.mounts.items())))
        recipe = (library.image_id(run.image), run.command, *told)
        former = self._made.get(run.name)
        if former is not None and former.recipe == recipe:
            container = library.client.containers.get(former.id)
            watch.begin(container)
            container.start()
            return container
        data = empty_data() if former is None else b"".join(library.api.get_archive(former.id, DATA)[0])
        if former is not None:
            library.api.remove_container(former.id, force=True, v=True)

        def prepare(container: Any) -> None:
            self._made[run.name] = _Made(id=str(container.id), recipe=recipe)
            container.put_archive("/", data)
            watch.begin(container)

        alias = run.name.lstrip("+")
        return library.start(
            self.container_name(run.name),
            run.image,
            run.command,
            # Signals go to the whole group, as they do for a local process.
            {**run.env, "TINI_KILL_PROCESS_GROUP": "1"},
            before=prepare,
            mounts=run.mounts,
            hostname=alias,
            init=True,
            labels={**labels.of_run(self._run_id), labels.NODE: alias},
            **library.endpoint(self._open[1].name, self.host(run.name), alias),
        )

    async def _off(self, work: Callable[[], Any]) -> Any:
        """Do something that blocks in a thread. A cancelled caller does not wait; closing does."""
        if self._closing:
            msg = "the containers of this run are being removed"
            raise StackError(msg)
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return await asyncio.shield(future)
