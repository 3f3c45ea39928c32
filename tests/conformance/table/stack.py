"""The stack that the table is seen on: a server for each protocol, real brokers, callers with links of their own."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import zlib
from pathlib import Path

from pytest_chaos.brokers.base import recipe_for
from pytest_chaos.brokers.kafka import Kafka
from pytest_chaos.brokers.rabbitmq import RabbitMQ
from pytest_chaos.brokers.redis import Redis
from pytest_chaos.engine.nemesis import Nemesis
from pytest_chaos.errors import PartMissing
from pytest_chaos.keeper.client import KeeperClient
from pytest_chaos.model.topology import LogLine, Service, Topology
from pytest_chaos.testing.described import Place
from tests.conformance.table.brokers import BROKERS
from tests.conformance.table.clients import PLAIN
from tests.conformance.table.direct import DirectKafka, DirectRabbit, DirectRedis

ROOT = Path(__file__).resolve().parents[3]
ENGINES = ("wire", "Toxiproxy")
LANES = {"wire": 6, "Toxiproxy": 3}
CLIENTS = (*PLAIN, *BROKERS)
SERVERS = ("http", "h2", "grpc", "tcp")
BROKER_NODES = ("kafka", "rabbitmq", "redis")
IDLE = ("sh", "-c", "echo ready; exec sleep 100000")


def topology(folder, callees, engines):
    """Give the stack: every caller has a link to every callee, those called ``toxi-N`` through a real Toxiproxy."""
    servers = [kind for kind in SERVERS if kind in callees]
    brokers = [kind for kind in BROKER_NODES if kind in callees]
    nodes = []
    for kind in servers:
        command = (sys.executable, "-m", "tests.conformance.table.server", kind, str(folder / kind))
        nodes.append(Service(kind, command=command, ports={"tcp": "PORT"}, cwd=str(ROOT), env={"PYTHONPATH": _path()}))
    made = {"kafka": Kafka("kafka"), "rabbitmq": RabbitMQ("rabbitmq"), "redis": Redis("redis", persistent=True)}
    nodes += [made[kind] for kind in brokers]
    callers = [f"{_caller(engine)}-{n}" for engine in engines for n in range(1, LANES[engine] + 1)]
    for name in callers:
        calls = {kind.upper(): f"{{{kind}.tcp}}" for kind in servers}
        uses = {kind.upper(): kind for kind in brokers}
        nodes.append(Service(name, command=IDLE, ready=LogLine("ready"), calls=calls, uses=uses))
    through = [f"{name} -> {callee}" for name in callers if name.startswith("toxi") for callee in callees]
    return Topology(*nodes, toxiproxy=through)


def _path():
    """What this process imports, for the servers as well: they may run in a copy of the tree."""
    return os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)])


def _caller(engine):
    return "toxi" if engine == "Toxiproxy" else "lane"


class Lane:
    """One caller, and its links; used by one observation at a time."""

    def __init__(self, stack, engine, number):
        self._stack, self.engine, self.number = stack, engine, number
        self.caller = f"{_caller(engine)}-{number}"
        self.mine = threading.Lock()

    def place(self, client):
        """Where an example acts that this client is to see."""
        link = f"{self.caller} -> {client.node}"
        return Place(link=link, caller=self.caller, callee=client.node, words=client.words())

    def address(self, client):
        """Where the client finds its callee through this lane's link, worded as a service is told it."""
        where = self._stack.state.links[f"{self.caller} -> {client.node}"]
        return recipe_for(client.node).address(where) if client.node in BROKER_NODES else where


class Stack:
    """The running stack, with what ``tasks`` need. Raises PartMissing when a broker or Toxiproxy cannot be had."""

    def __init__(self, tasks):
        callees = {client.node for task in tasks for client in task.clients}
        engines = [engine for engine in ENGINES if engine == "wire" or any(task.engine == engine for task in tasks)]
        self._ends = contextlib.ExitStack()
        self.folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="table-")))
        self.topology = topology(self.folder, callees, engines)
        self.keeper = KeeperClient.spawn(f"table-{os.getpid()}", project=ROOT)
        self._ends.callback(self.keeper.close)
        self.state = self.keeper.start(self.topology.spec())
        if self.state.missing:
            self.close()
            raise PartMissing("; ".join(self.state.missing.values()))
        kinds = {"rabbitmq": DirectRabbit, "kafka": DirectKafka, "redis": DirectRedis}
        self.direct = {name: kind(self.state.ports[name]["tcp"]) for name, kind in kinds.items() if name in callees}
        for one in self.direct.values():
            self._ends.callback(one.close)
        self.lanes = [Lane(self, engine, number) for engine in engines for number in range(1, LANES[engine] + 1)]

    def lane(self, task):
        """Give the lane of a task, the same on every run: what a fault draws by chance depends on the link's name."""
        engine = task.engine if task.engine in ENGINES else ENGINES[0]
        mine = [lane for lane in self.lanes if lane.engine == engine]
        about = f"{task.example.label} {task.clients[0].name}".encode()
        return mine[zlib.crc32(about) % len(mine)]

    def nemesis(self, owner):
        return Nemesis(self.keeper, self.topology, owner)

    def open_attempts(self, link):
        """List what still goes on at a link."""
        return [one for one in self.keeper.mark().open if one.link == link]

    def done(self, client, markers):
        """Count, by marker, the work that the callee did."""
        if client.node in BROKER_NODES:
            return client.done(markers)
        ledger = self.folder / client.node
        lines = ledger.read_text(errors="replace").splitlines() if ledger.exists() else []
        return {marker: lines.count(marker) for marker in markers}

    def mended(self):
        """Have every node running again."""
        self.keeper.baseline()

    def close(self):
        self._ends.close()
