"""Recipes as data: what a plan says, whatever is installed."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from pytest_chaos.brokers.base import recipe_for, recipes
from pytest_chaos.brokers.kafka import Kafka
from pytest_chaos.brokers.rabbitmq import RabbitMQ
from pytest_chaos.brokers.redis import Redis
from pytest_chaos.errors import ChaosError, PartMissing
from pytest_chaos.model.plan import NodeSpec
from pytest_chaos.model.topology import Broker, Topology

DECLARED = [Kafka("events", topics=("orders",)), RabbitMQ("bus", exchanges=("e",)), Redis("keys", streams=("s",))]
LINKS = {"orders -> it": "127.0.0.1:1001", "analytics -> it": "127.0.0.1:1002"}


def prepare(broker: Broker, home, environ):
    ports = itertools.count(20_001)
    node = NodeSpec(name=broker.name, kind="broker", broker=broker.kind, options=dict(broker.options))
    return recipe_for(broker.kind).prepare(node, home, LINKS, environ, lambda: next(ports))


@pytest.fixture
def java(tmp_path):
    """Just enough of an installation for a recipe to look at; nothing here is ever started."""
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n")
    program.chmod(0o755)
    libs = tmp_path / "kafka" / "libs"
    libs.mkdir(parents=True)
    import zipfile

    with zipfile.ZipFile(libs / "kafka-clients-4.1.0.jar", "w") as jar:
        jar.writestr("kafka/kafka-version.properties", "version=4.1.0\n")
    return {
        "PATH": str(program.parent),
        "KAFKA_HOME": str(tmp_path / "kafka"),
        "PYTEST_CHAOS_CACHE": str(tmp_path / "cache"),
    }


def test_every_broker_of_a_topology_has_a_recipe():
    assert recipes.names() == sorted(broker.kind for broker in DECLARED)
    Topology(*DECLARED)


@pytest.mark.parametrize("broker", DECLARED, ids=lambda broker: broker.kind)
def test_where_nothing_is_installed_the_recipe_says_how_to_get_it(broker, tmp_path):
    with pytest.raises(PartMissing, match=r"install|setup"):
        prepare(broker, tmp_path, {"PATH": "", "PYTEST_CHAOS_CACHE": str(tmp_path / "none")})


def test_kafka_has_one_listener_a_link_that_advertises_the_links_address(tmp_path, java):
    home = tmp_path / "home"
    (home / "log").mkdir(parents=True)  # formatted before: nothing is started
    plan = prepare(DECLARED[0], home, java)
    lines = dict(line.split("=", 1) for line in (home / "server.properties").read_text().splitlines())
    told = dict(one.split("://") for one in lines["advertised.listeners"].split(","))
    bound = dict(one.split("://") for one in lines["listeners"].split(","))
    assert (told["L0"], told["L1"]) == tuple(LINKS.values())
    assert (bound["L0"], bound["L1"]) == tuple(plan.upstreams[link] for link in LINKS)
    assert told["ADMIN"] == bound["ADMIN"] == plan.direct
    assert "CTRL" not in told
    assert all(address.startswith("127.0.0.1:") for address in bound.values())
    assert len({*bound.values()}) == 4
    assert plan.direct not in plan.upstreams.values()
    again = prepare(DECLARED[0], home, java)
    assert again.command == plan.command


def test_addresses_are_what_clients_are_configured_with():
    told = {broker.kind: recipe_for(broker.kind).address("127.0.0.1:5") for broker in DECLARED}
    assert told == {
        "kafka": "127.0.0.1:5", "rabbitmq": "amqp://guest:guest@127.0.0.1:5/", "redis": "redis://127.0.0.1:5/0",
    }  # fmt: skip


def test_an_unknown_kind_is_answered_with_the_known_ones():
    with pytest.raises(ChaosError, match="kafka, rabbitmq, redis"):
        recipe_for("nats")


def test_declaring_brokers_loads_no_client_library():
    program = (
        "import sys\nfrom pytest_chaos import Kafka, RabbitMQ, Redis\nfrom pytest_chaos.brokers.base import recipes\n"
        "Kafka('a'), RabbitMQ('b'), Redis('c'), recipes.names()\n"
        "print([name for name in ('aiokafka', 'aio_pika', 'aiormq', 'redis') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
