"""Links through a real Toxiproxy: in the chain, faulted, proved, restarted."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Iterator

import pytest

from pytest_chaos.keeper.client import KeeperClient, StackState
from pytest_chaos.model.fault import ByteFault, Installed
from pytest_chaos.model.plan import StackSpec
from pytest_chaos.model.topology import Topology
from pytest_chaos.parts import toxiproxy
from tests.conformance.runtimes import kit

pytestmark = pytest.mark.skipif(not toxiproxy.find(os.environ).found, reason="no toxiproxy-server here: make setup")


def spec() -> StackSpec:
    nodes = (kit.service("front", calls={"UP": "http://{back}"}), kit.service("back"))
    return dataclasses.replace(Topology(*nodes, toxiproxy=["front -> back"]).spec(), project="/", otlp=False)


def toxic(link: str, kind: str, **attributes: int) -> Installed:
    return Installed(
        id="f1",
        kind=kind,
        target=link,
        toxics=(ByteFault(id="f1.1", fault="f1", link=link, toxic=kind, attributes=attributes),),
    )


@pytest.fixture(scope="module")
def stack() -> Iterator[tuple[KeeperClient, StackState]]:
    with kit.keeper(spec()) as up:
        yield up


def test_only_the_named_links_go_through_it(stack: tuple[KeeperClient, StackState]) -> None:
    _, state = stack
    assert state.engines == {"front -> back": "toxiproxy", "test -> front": "wire", "test -> back": "wire"}
    (part,) = (part for part in state.parts if part["kind"] == "toxiproxy")
    assert part["version"].startswith("2.")


def test_a_toxic_acts_is_proved_and_goes(stack: tuple[KeeperClient, StackState]) -> None:
    client, state = stack
    client.install(kit.schedule(toxic("front -> back", "latency", latency=300)))
    began = time.monotonic()
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")
    assert time.monotonic() - began >= 0.3
    (record,) = client.uninstall("s1")
    assert (record.engine, record.hits) == ("toxiproxy", 1)
    assert client.undos()[-1].proof.startswith("Toxiproxy lists no f1.1")
    began = time.monotonic()
    kit.get(state.links["test -> front"], "/ask")
    assert time.monotonic() - began < 0.3


def test_a_toxic_that_nothing_went_through_has_no_hit(stack: tuple[KeeperClient, StackState]) -> None:
    client, _ = stack
    client.install(kit.schedule(toxic("front -> back", "latency", latency=300)))
    assert client.uninstall("s1")[0].hits == 0


def test_a_toxic_on_another_link_is_carried_out_by_wire(stack: tuple[KeeperClient, StackState]) -> None:
    client, state = stack
    client.install(kit.schedule(toxic("test -> front", "latency", latency=300)))
    began = time.monotonic()
    kit.get(state.links["test -> front"], "/ask")
    assert time.monotonic() - began >= 0.3
    (record,) = client.uninstall("s1")
    assert (record.engine, record.hits) == ("wire", 1)
    assert record.proof.startswith("wire's latency acted on 1 connections and ")


def test_a_restarted_callee_is_reached_through_it_again(stack: tuple[KeeperClient, StackState]) -> None:
    client, state = stack
    client.node("back", "kill")
    assert "refused" in kit.get(state.links["test -> front"], "/ask")
    client.node("back", "start")
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")


def test_a_stuck_server_is_replaced_by_the_undo(stack: tuple[KeeperClient, StackState]) -> None:
    client, state = stack
    client.install(kit.schedule(toxic("front -> back", "latency", latency=300)))
    pid = next(int(part["pid"]) for part in state.parts if part["kind"] == "toxiproxy")
    os.kill(pid, signal.SIGSTOP)
    client.uninstall("s1")
    undo = client.undos()[-1]
    assert undo.ok
    assert "after its restart" in undo.proof
    assert undo.took_ms < 10_000
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")
