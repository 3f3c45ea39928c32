"""Partitions on running stacks, as processes and as containers: what each side sees, what is counted, and healing."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator

import pytest

from pytest_chaos.engine.nemesis import Nemesis
from pytest_chaos.errors import TopologyError
from pytest_chaos.faults.partition import Partition
from pytest_chaos.keeper.client import KeeperClient, StackState
from pytest_chaos.model.history import FaultRecord
from pytest_chaos.model.plan import StubOperation
from pytest_chaos.model.topology import Service, Stub, Topology
from tests.conformance.runtimes import boxes, kit

ACROSS = "front -> back"
WHY = boxes.missing()


def topology(service: object = kit.service) -> Topology:
    """front -> back -> bank, and watcher -> front."""
    assert callable(service)
    front: Service = service("front", calls={"UP": "http://{back.http}"})
    return Topology(
        front,
        service("back", calls={"BANK": "http://{bank}"}),
        service("watcher", calls={"UP": "http://{front.http}"}),
        Stub("bank", {"POST /pay": StubOperation(body={"receipt": "{seq}"})}),
    )


@dataclasses.dataclass
class Up:
    client: KeeperClient
    state: StackState
    nemesis: Nemesis

    def ask(self, timeout_s: float = 10.0) -> str:
        """What front says that back says."""
        return kit.get(self.state.links["test -> front"], "/ask", timeout_s=timeout_s)

    def lift(self, schedule: object) -> FaultRecord:
        self.nemesis.uninstall(schedule)  # type: ignore[arg-type]
        return self.nemesis.records()[-1]


@pytest.fixture(
    scope="module",
    params=["processes", pytest.param("containers", marks=pytest.mark.skipif(bool(WHY), reason=WHY))],
)
def running(request: pytest.FixtureRequest) -> Iterator[Up]:
    boxed = request.param == "containers"
    wanted = topology(boxes.service if boxed else kit.service)
    spec = dataclasses.replace(wanted.spec(), project="/", otlp=False, runtime=request.param)
    with kit.keeper(spec) as (client, state):
        yield Up(client, state, Nemesis(client, wanted, "t"))


@pytest.fixture
def up(running: Up) -> Up:
    running.client.baseline()
    assert running.ask().startswith("via hello")
    return running


def test_parted_nodes_do_not_reach_each_other_and_all_others_do(up: Up) -> None:
    schedule = up.nemesis.install([Partition(["front"], ["back", "bank"])])
    assert up.ask(timeout_s=0.4) == "TimeoutError"
    assert kit.get(up.state.links["test -> front"]).startswith("hello")
    assert kit.get(up.state.links["test -> back"], "/pay").startswith("paid")
    assert kit.get(up.state.links["test -> watcher"], "/ask").startswith("via hello")
    record = up.lift(schedule)
    assert (record.kind, record.target, record.links) == ("Partition", "front | back, bank", (ACROSS,))
    assert record.hits == 1
    assert record.proof.startswith("wire's timeout acted on 1 connections and ")
    assert up.ask().startswith("via hello")


def test_all_links_are_one_fault_and_their_hits_add_up(up: Up) -> None:
    schedule = up.nemesis.install([Partition.one_against_rest("front", how="refuse")])
    (before,) = [one for one in up.client.faults("t") if one.lifted_ns is None]
    assert before.links == (ACROSS, "watcher -> front")
    assert "refused" in up.ask()
    record = up.lift(schedule)
    assert record.links == (ACROSS, "watcher -> front")
    assert record.params == {"shape": "rest", "how": "refuse"}
    undo = up.client.undos()[-1]
    assert (undo.fault, undo.ok, undo.action) == (record.id, True, f"refuse on {ACROSS}; refuse on watcher -> front")
    assert up.ask().startswith("via hello")


def test_one_way_the_request_is_lost_or_its_answer(up: Up) -> None:
    pay = up.state.links["test -> back"]
    effects = len(bank_effects(up))
    schedule = up.nemesis.install([Partition(["back"], ["bank"], one_way=True)])
    assert kit.get(pay, "/pay", timeout_s=0.4) == "TimeoutError"
    assert len(bank_effects(up)) == effects, "the request never came"
    assert up.lift(schedule).hits == 1
    schedule = up.nemesis.install([Partition(["bank"], ["back"], one_way=True)])
    assert kit.get(pay, "/pay", timeout_s=0.4) == "TimeoutError"
    kit.until(lambda: len(bank_effects(up)) > effects, what="the effect whose answer is lost")
    assert up.lift(schedule).hits == 1
    assert kit.get(pay, "/pay").startswith("paid")


def test_dropped_as_by_a_firewall_no_connection_is_made(up: Up) -> None:
    schedule = up.nemesis.install([Partition(["test"], ["back"], how="drop")])
    host, _, port = up.state.links["test -> back"].rpartition(":")
    with pytest.raises(TimeoutError), socket.create_connection((host, int(port)), timeout=0.4):
        pass
    assert up.ask().startswith("via hello"), "the driver alone was named"
    record = up.lift(schedule)
    assert record.hits >= 1
    assert up.ask().startswith("via hello")


def test_healing_lifts_all_that_is_in_force_and_proves_it(up: Up) -> None:
    first = up.nemesis.install([Partition(["front"], ["back"], how="refuse")])
    second = up.nemesis.install([Partition(["watcher"], ["front"], how="refuse")])
    assert "refused" in up.ask()
    up.nemesis.heal()
    assert up.ask().startswith("via hello")
    proofs = [undo.proof for undo in up.client.undos()[-2:]]
    for proof, lifted in zip(proofs, (second, first), strict=True):
        assert proof.startswith(f"wire's table lists no rule of {lifted.id}; a TCP connection through ")
    healed = up.nemesis.records()[-2:]
    assert all(one.lifted_ns is not None for one in healed)
    up.nemesis.uninstall(first)
    assert up.nemesis.records()[-2:] == healed, "a block that ends after the healing changes nothing"


def test_a_partition_without_a_link_is_refused_before_anything_is_done(up: Up) -> None:
    known = len(up.nemesis.records())
    with pytest.raises(TopologyError, match=r"watcher \| bank cuts no link"):
        up.nemesis.install([Partition(["front"], ["back"]), Partition(["watcher"], ["bank"])])
    assert len(up.nemesis.records()) == known
    assert up.ask().startswith("via hello")


def bank_effects(up: Up) -> list[bytes]:
    end = up.client.mark().offset
    return [line for line in up.client.attempts_spool.read_bytes()[:end].splitlines() if b'"k":"e"' in line]
