"""The same with real brokers, whose daemons leave their process group: a killed client or keeper leaves none of them.

``PYTEST_CHAOS_SOAK=10`` runs each ten times at random moments.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_chaos.keeper import home
from pytest_chaos.parts import java, kafka, rabbitmq, redis
from tests.conformance.runtimes import kit

ROUNDS = int(os.environ.get("PYTEST_CHAOS_SOAK", "1"))
CLIENT = """
import sys
sys.path.insert(0, {root!r})
from pytest_chaos.brokers.kafka import Kafka
from pytest_chaos.brokers.rabbitmq import RabbitMQ
from pytest_chaos.brokers.redis import Redis
from pytest_chaos.keeper.client import KeeperClient
from tests.conformance.runtimes import kit
print("begin", flush=True)
client = KeeperClient.spawn({run!r})
client.start(kit.spec_of(Kafka("events"), RabbitMQ("bus"), Redis("keys")))
print("up", flush=True)
client.install(kit.schedule(kit.action("pause", "bus"), kit.action("kill", "keys", fault="f2")))
print("fault", flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(
    not all(part.find(os.environ).found for part in (java, kafka, rabbitmq, redis)),
    reason="needs Kafka, RabbitMQ and Redis: make setup",
)


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("who", ["client", "keeper"])
def test_no_broker_outlives_its_run(who: str, number: int) -> None:
    run = kit.run_id()
    source = CLIENT.format(root=str(Path(__file__).parents[2]), run=run)
    command = [sys.executable, "-c", source]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        for line in client.stdout:
            if line == ("fault\n" if number == 0 else "begin\n"):
                break
        else:
            raise AssertionError("the client ended before its fault")
        time.sleep(0 if number == 0 else random.uniform(0.3, 8))
        record = home.read_record(home.run_home(run))
        assert record is not None
        os.kill(client.pid if who == "client" else record.pid, signal.SIGKILL)
        if who == "client":
            kit.until(lambda: not kit.left_of(run, record.pid), what=f"the end of {run}")
        else:
            with kit.keeper():  # the next run's start sweeps
                kit.until(lambda: not kit.left_of(run, record.pid), what=f"the end of {run}")
    finally:
        client.kill()
        client.wait()
        client.stdin.close()
        client.stdout.close()
