"""A client that is killed leaves nothing of its faults behind at brokers that others go on to use."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.disturbances.test_rabbitmq import channel, publish
from tests.conformance.runtimes import kit

redis = pytest.importorskip("redis")
CLIENT = """
import sys
sys.path.insert(0, {root!r})
from pytest_chaos import BrokerFull, Unroutable
from pytest_chaos.keeper.client import KeeperClient
from pytest_chaos.testing.strategies import installed
from tests.conformance.runtimes import kit
client, first = KeeperClient.join({run!r})
assert not first
faults = installed(BrokerFull("keys"), "f1"), installed(Unroutable("bus", {exchange!r}), "f2")
client.install(kit.schedule(*faults, name="killed"))
print("installed", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_client_did_to_brokers_is_undone(up, name):
    async def routed() -> str:
        async with channel(up) as one:
            return await publish(await one.get_exchange(name), "k")

    async def declare() -> None:
        async with channel(up) as one:
            queue = await one.declare_queue(name, durable=True)
            await queue.bind(await one.declare_exchange(name, "direct", durable=True), "k")

    asyncio.run(declare())
    source = CLIENT.format(root=str(Path(__file__).parents[3]), run=up.client.home.run_id, exchange=name)
    command = [sys.executable, "-c", source]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        assert client.stdout.readline() == "installed\n"
        with redis.Redis.from_url(up.address("keys")) as keys:
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                keys.set(name, "x")
            assert asyncio.run(routed()) == "NO_ROUTE"
            os.kill(client.pid, signal.SIGKILL)
            kit.until(lambda: keys.config_get("maxmemory")["maxmemory"] == "0", what="room in Redis")
            keys.set(name, "x")
        kit.until(lambda: asyncio.run(routed()) == "confirmed", what="the route")
    finally:
        client.kill()
        client.wait()
        client.stdin.close()
        client.stdout.close()
    assert up.client.state().dirty == ()
