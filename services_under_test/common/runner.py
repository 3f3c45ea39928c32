"""A service's process: settings, state, tracing, HTTP and gRPC servers, background work, and an end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import uvicorn
import uvloop
from starlette.routing import Route

from services_under_test.common import http_app, logs, telemetry
from services_under_test.common.background import Background
from services_under_test.common.clock import Clock, MonotonicClock
from services_under_test.common.env import Env
from services_under_test.common.store import Store
from services_under_test.common.strategies import Strategies
from services_under_test.defects import load

log = logging.getLogger(__name__)
_GRACE_S = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a service is given to build itself from."""

    name: str
    env: Env
    store: Store
    strategies: Strategies
    telemetry: telemetry.Telemetry
    background: Background = field(default_factory=Background)
    clock: Clock = field(default_factory=MonotonicClock)
    rng: Random = field(default_factory=Random)


async def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A service: its routes, its ledgers, its gRPC servicers, and what to do after the start and before the end."""

    routes: Sequence[Route]
    effects: Callable[[], http_app.Rows]
    rpc: Callable[[Any], None] | None = None
    start: Callable[[], Awaitable[None]] = _nothing
    stop: Callable[[], Awaitable[None]] = _nothing


class _Server(uvicorn.Server):
    """Ends with status 0 on SIGTERM and SIGINT, after the lifespan's end, instead of dying of the signal again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Turn both signals into a graceful end."""
        loop = asyncio.get_running_loop()
        for wanted in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(wanted, self.handle_exit, wanted, None)
        yield


def main(name: str, build: Callable[[Host], Built]) -> None:
    """Run a service until it is told to stop; its settings come from the environment only."""
    env = Env(os.environ)
    logs.set_up(name, env.text("LOG_LEVEL", "INFO"))
    # gRPC's core writes lines of its own to stderr that say nothing about a request.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    strategies = load(env.text("SHOP_DEFECTS"))
    host = Host(
        name=name,
        env=env,
        store=Store(Path(env.text("DATA_DIR", "data")) / f"{name}.db"),
        strategies=strategies,
        telemetry=telemetry.set_up(name, env),
    )
    uvloop.run(_serve(host, build))


async def _serve(host: Host, build: Callable[[Host], Built]) -> None:
    built = build(host)

    @contextlib.asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with _running(host, built):
            yield

    app, route_of = http_app.build(built.routes, effects=built.effects, lifespan=lifespan)
    config = uvicorn.Config(
        host.telemetry.wrap_app(app, route_of),
        host=host.env.text("HOST", "127.0.0.1"),
        port=host.env.port("PORT"),
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config)
    await server.serve()
    if not server.started:
        sys.exit(1)


@contextlib.asynccontextmanager
async def _running(host: Host, built: Built) -> AsyncIterator[None]:
    rpc_server = await _rpc_server(host, built)
    await built.start()
    warming = asyncio.get_running_loop().run_in_executor(None, host.telemetry.warm_up)
    log.info("ready")
    try:
        yield
    finally:
        if rpc_server is not None:
            await rpc_server.stop(_GRACE_S)
        await built.stop()
        await host.background.stop()
        await warming
        await asyncio.to_thread(host.telemetry.shut_down)
        host.store.close()
        log.info("stopped")


async def _rpc_server(host: Host, built: Built) -> Any:
    if built.rpc is None:
        return None
    from services_under_test.common import rpc  # noqa: PLC0415 - gRPC is loaded by those who serve it

    server = rpc.server(host.telemetry)
    built.rpc(server)
    server.add_insecure_port(f"{host.env.text('HOST', '127.0.0.1')}:{host.env.port('GRPC_PORT')}")
    await server.start()
    return server
