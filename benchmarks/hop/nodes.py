"""The brokers of the benchmarks: real ones, started by their recipes as local processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pytest_chaos.brokers.base import recipe_for
from pytest_chaos.engine.session import new_run_id
from pytest_chaos.keeper import wiring
from pytest_chaos.keeper.ports import Ports
from pytest_chaos.keeper.ready import wait_ready
from pytest_chaos.model.plan import NodeSpec
from pytest_chaos.runtimes.base import NodeRun, Running
from pytest_chaos.runtimes.processes import ProcessRuntime
from pytest_chaos.runtimes.reaper import Reaper

LINK, TOPIC = "load -> broker", "bench"
BROKERS = {
    "resp": NodeSpec(name="keys", kind="broker", broker="redis", ports={"tcp": ""}, options={}),
    "amqp": NodeSpec(name="bus", kind="broker", broker="rabbitmq", ports={"tcp": ""}, options={}),
    "kafka": NodeSpec(name="events", kind="broker", broker="kafka", ports={"tcp": ""}, options={"topics": (TOPIC,)}),
}


@contextlib.contextmanager
def broker(kind: str) -> Iterator[int]:
    """Run one broker and give the port that a link's proxy leads to; raise PartMissing when it cannot be had."""
    ports, reaper = Ports(), Reaper()
    with tempfile.TemporaryDirectory(prefix="chaos-bench-") as folder, asyncio.Runner() as runner:
        try:
            running, port = runner.run(_start(BROKERS[kind], Path(folder), ports, reaper))
            try:
                yield port
            finally:
                runner.run(_end(running, reaper))
        finally:
            ports.close()


async def _start(node: NodeSpec, folder: Path, ports: Ports, reaper: Reaper) -> tuple[Running, int]:
    run_id, environ = new_run_id(), dict(os.environ)
    links = {LINK: f"127.0.0.1:{ports.take()}"}
    plan = await asyncio.to_thread(recipe_for(node.broker).prepare, node, folder / "data", links, environ, ports.take)
    run = NodeRun(
        name=node.name,
        run_id=run_id,
        command=plan.command,
        env={**wiring.inherited(environ), **plan.env},
        cwd=plan.cwd,
        log=folder / "log",
        ports=plan.ports,
    )
    reaper.attach()
    running = await ProcessRuntime(run_id, reaper).start(run)
    try:
        await wait_ready(node.name, plan.ready, running, run.log, port="tcp")
        if node.broker == "kafka":
            await _make_topic(plan.direct)
    except BaseException:
        await _end(running, reaper)
        raise
    return running, int(plan.upstreams[LINK].rpartition(":")[2])


async def _end(running: Running, reaper: Reaper) -> None:
    try:
        await running.kill()
    finally:
        reaper.detach()


async def _make_topic(bootstrap: str) -> None:
    """A topic is made by the first record for it."""
    from aiokafka import AIOKafkaProducer

    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(TOPIC, b"first")
