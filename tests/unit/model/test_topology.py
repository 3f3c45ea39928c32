"""A topology makes its links from who calls whom, and refuses what makes no sense by name."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_chaos.errors import TopologyError
from pytest_chaos.model.plan import StubOperation
from pytest_chaos.model.topology import PROTOCOLS, Backing, Broker, Http, Service, Stub, Topology
from pytest_chaos.wire.framed import readers


def _service(name: str, **more: Any) -> Service:
    return Service(name, command=["run"], **{"ports": {"http": "PORT"}, **more})


def _shop(**more: Any) -> Topology:
    return Topology(
        _service(
            "orders",
            ports={"http": "PORT", "grpc": "GRPC_PORT"},
            calls={"PAY": "http://{payments.http}"},
            uses={"KAFKA": "events"},
        ),
        _service("payments", calls={"BANK": "http://{bank.http}"}),
        Stub("bank", {"POST /charges": StubOperation()}),
        Broker("events", "kafka"),
        **more,
    )


def _kafka(**more: Any) -> Backing:
    return Backing("events", **{"command": ["run"], "protocol": "kafka", "advertise": {"*": "events"}, **more})


def test_a_backing_may_say_what_wire_reads_and_what_its_brokers_are_called() -> None:
    node = Topology(_kafka(advertise={"1": "events", "kafka-1:9092": "events", "*": "events"})).spec().node("events")
    assert node.protocol == "kafka"
    assert node.advertise == {"1": "events", "kafka-1:9092": "events", "*": "events"}
    assert sorted(PROTOCOLS) == sorted(["", *readers.PROTOCOLS])


def test_links_follow_from_calls_and_uses_and_the_driver_reaches_every_port() -> None:
    assert [link.name for link in _shop().links] == [
        "orders -> events", "orders -> payments", "payments -> bank",
        "test -> orders", "test -> orders.grpc", "test -> payments", "test -> bank", "test -> events",
    ]  # fmt: skip


def test_a_used_broker_becomes_a_template_of_its_name() -> None:
    assert _shop().spec().node("orders").env["KAFKA"] == "{events}"


def test_toxiproxy_is_put_on_the_named_links_alone() -> None:
    spec = _shop(toxiproxy=["orders -> payments"]).spec()
    assert [link.name for link in spec.links if link.toxiproxy] == ["orders -> payments"]


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Topology(_service("a", calls={"X": "{b.http}"})), "a: X refers to 'b'"),
        (lambda: Topology(_service("a", calls={"X": "{b.nope}"}), _service("b")), "refers to port 'nope' of 'b'"),
        (lambda: Topology(_service("a"), _service("a")), "two nodes are called 'a'"),
        (lambda: Topology(_service("Upper")), "node name 'Upper'"),
        (lambda: Topology(_service("test")), "node name 'test'"),
        (lambda: Topology(Service("a", ports={"http": "PORT"})), "a: give it a command"),
        (lambda: Topology(Backing("db")), "db: give it a command"),
        (lambda: Topology(_kafka(protocol="http")), "events: protocol='http': must be one of amqp, kafka, resp"),
        (lambda: Topology(_kafka(protocol="amqp")), "events: advertise={'\\*': 'events'}: is for protocol='kafka'"),
        (lambda: Topology(_kafka(advertise={"one": "events"})), "events: advertise: 'one': must be a node id"),
        (lambda: Topology(_kafka(advertise={"1": "other"})), r"events: advertise\['1'\]='other': no node is called so"),
        (lambda: _shop(toxiproxy=["orders -> nowhere"]), "toxiproxy='orders -> nowhere'"),
        (lambda: Topology(_service("a", policies={"b": [_Policy()]}), _service("b")), "declared on 'a -> b'"),
        (lambda: _shop().link("orders -> nowhere"), "no link is called 'orders -> nowhere'"),
        (lambda: _shop().node("nobody"), "no node is called 'nobody'"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(build: Any, says: str) -> None:
    with pytest.raises(TopologyError, match=says.replace("{", r"\{")):
        build()


def test_a_state_query_stays_with_the_client() -> None:
    spec = Topology(_service("a", state=Http("/effects"))).spec()
    assert not hasattr(spec.node("a"), "state")


class _Policy:
    rules: tuple[str, ...] = ()

    def check(self, _history: object) -> Any:
        raise AssertionError
