"""A Kafka that others start tells its clients where it is: they leave their link, and it is said, or ``advertise``."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts import _part, java, kafka

CACHE = str(_part.cache_dir(os.environ))  # before pytester gives the test a home of its own
# A real Kafka with a single listener, which advertises its own port and knows of no link.
BROKER = """
import os
import pathlib
import socket

from pytest_chaos.brokers.kafka import KafkaRecipe
from pytest_chaos.model.plan import NodeSpec

with socket.create_server(("127.0.0.1", 0)) as free:
    ports = iter([int(os.environ["PORT"]), free.getsockname()[1]])
home = pathlib.Path("kafka-home").absolute()
plan = KafkaRecipe().prepare(NodeSpec(name="own", kind="broker"), home, {}, os.environ, lambda: next(ports))
os.chdir(plan.cwd)
os.execvp(plan.command[0], plan.command)
"""
SERVICE = """
import asyncio
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiokafka


async def publish(headers):
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=os.environ["KAFKA"]) as producer:
        await producer.send_and_wait("orders", b"{}", headers=headers)


class Service(BaseHTTPRequestHandler):
    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("X-Correlation-Id", self.headers.get("X-Correlation-Id", ""))
        self.end_headers()

    def do_GET(self):
        self.answer(200)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        correlation = self.headers.get("X-Correlation-Id", "")
        asyncio.run(publish([("x-correlation-id", correlation.encode())]))
        self.answer(201)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Service).serve_forever()
"""
CONFTEST = """
import sys

import pytest
from pytest_chaos import Backing, Service, Topology


@pytest.fixture(scope="session")
def chaos_topology():
    return Topology(
        Service("front", command=[sys.executable, "service.py"], ports={"http": "PORT"}, uses={"KAFKA": "kafka"}),
        Backing("kafka", command=[sys.executable, "broker.py"], protocol="kafka", advertise=ADVERTISE,
                ready_timeout_s=60),
    )
"""
TESTS = """
from pytest_chaos import Correlation, Delay


def test_it(chaos):
    with chaos.fault(Delay("front -> kafka", 1, operation="Produce orders")):
        assert chaos.client("front").post("/orders", json={}).status_code == 201
    chaos.check(Correlation(rules=("X5",)))
"""


@pytest.mark.parametrize("advertise", [{}, {"*": "kafka"}], ids=["as it is", "advertised"])
def test_clients_of_a_kafka_that_others_start(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, advertise: dict[str, str]
) -> None:
    monkeypatch.setenv("PYTEST_CHAOS_CACHE", CACHE)
    try:
        java.find(os.environ).require()
        kafka.find(os.environ).require()
    except PartMissing as missing:
        pytest.skip(str(missing))
    pytest.importorskip("aiokafka")
    pytester.makefile(".py", service=SERVICE, broker=BROKER, test_it=TESTS)
    pytester.makeconftest(f"ADVERTISE = {advertise!r}\n{CONFTEST}")
    pytester.makefile(".ini", pytest="[pytest]\n")
    run = pytester.runpytest_subprocess("--chaos", "-p", "no:cacheprovider", "-q")
    lines = (pytester.path / "reports" / "latest" / "journal.jsonl").read_text().splitlines()
    records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    (case,) = [record for record in records if record["type"] == "test"]
    if advertise:
        run.assert_outcomes(passed=1)
        assert "around" not in case["history"]
        return
    assert case["outcome"] == "inconclusive"
    said = " ".join(case["message"].split())
    (told,) = [one for one in case["history"]["around"] if one.get("told")]
    assert (told["caller"], told["callee"]) == ("front", "kafka")
    assert f"front -> kafka did not act on all that passed there: kafka told front in {told['told']} answer" in said
    assert f"to reach it at {told['address']}, which is not their link" in said
