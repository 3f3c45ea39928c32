"""The stack as its clients see it: links, faults, lifecycle, and everything gone at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from pytest_chaos.errors import ChaosError, FaultError, KeeperError, StackError
from pytest_chaos.keeper.client import KeeperClient, StackState
from pytest_chaos.model.fault import Installed, NodeAction, When, WireRule
from tests.conformance.runtimes import kit

Up = tuple[KeeperClient, StackState]


@pytest.fixture(scope="module")
def stack() -> Iterator[Up]:
    with kit.keeper(kit.chain()) as (client, state):
        yield client, state


@pytest.fixture
def up(stack: Up) -> Up:
    stack[0].baseline()
    return stack


def test_calls_go_over_links_and_every_hop_is_recorded(up: Up) -> None:
    client, state = up
    before = client.mark().offset
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")
    end = client.mark().offset
    rows = [json.loads(line) for line in client.attempts_spool.read_bytes()[before:end].splitlines()]
    assert {row["link"] for row in rows if row["k"] == "a"} == {"test -> front", "front -> back"}


def test_a_stub_answers_by_itself(up: Up) -> None:
    assert kit.get(up[1].links["test -> back"], "/pay").startswith('paid {"receipt"')


def test_a_fault_acts_until_it_is_lifted_and_the_undo_is_proved(up: Up) -> None:
    client, state = up
    client.install(kit.schedule(kit.rule("status", "front -> back", code=503)))
    assert "503" in kit.get(state.links["test -> front"], "/ask")
    (record,) = client.uninstall("s1")
    assert (record.hits, record.engine, record.proof) == (1, "wire", "wire acted on 1 requests")
    assert record.lifted_ns is not None
    assert client.undos()[-1].proof == (
        "wire's table lists no rule of s1; a TCP connection through front -> back reached its callee"
    )
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")


def test_a_schedule_is_installed_whole_or_not_at_all(up: Up) -> None:
    client, state = up
    bad = kit.schedule(
        kit.rule("status", "front -> back", code=503), kit.rule("status", "no -> where", fault="f2", code=503)
    )
    with pytest.raises(FaultError, match="no -> where"):
        client.install(bad)
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")
    client.install(kit.schedule(kit.rule("status", "front -> back", code=503)))  # the name is free
    client.uninstall("s1")


def test_a_killed_node_refuses_before_the_kill_returns(up: Up) -> None:
    client, state = up
    client.node("back", "kill")
    assert kit.get(state.links["test -> back"]) == "ConnectionRefusedError"
    assert "refused" in kit.get(state.links["test -> front"], "/ask")
    assert "back" not in client.running()
    client.node("back", "start")
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")


def test_a_kill_fault_is_undone_by_a_ready_node(up: Up) -> None:
    client, state = up
    client.install(kit.schedule(kit.action("kill", "back")))
    assert kit.get(state.links["test -> back"]) == "ConnectionRefusedError"
    (record,) = client.uninstall("s1")
    assert (record.hits, record.engine) == (1, "runtime")
    assert record.proof.startswith("SIGKILL: no process of back")
    assert "TCP connect" in client.undos()[-1].proof
    assert kit.get(state.links["test -> back"]).startswith("hello")


def test_a_killed_node_comes_back_by_itself_when_asked_to(up: Up) -> None:
    client, state = up
    client.install(kit.schedule(kit.action("kill", "back", restart_after_s=0.1)))
    kit.until(lambda: kit.get(state.links["test -> back"]).startswith("hello"), what="the comeback")
    client.uninstall("s1")
    assert [event.event for event in client.node_events() if event.node == "back"][-3:] == [
        "killed",
        "started",
        "ready",
    ]


def test_a_paused_node_hangs_and_goes_on(up: Up) -> None:
    client, state = up
    pid = kit.get(state.links["test -> back"])
    client.install(kit.schedule(kit.action("pause", "back")))
    assert kit.get(state.links["test -> back"], timeout_s=0.3) == "TimeoutError"
    client.uninstall("s1")
    assert kit.get(state.links["test -> back"]) == pid  # the same process


def test_a_node_is_killed_while_a_request_waits_at_a_point(up: Up) -> None:
    client, state = up
    point = WireRule(
        id="f1.1", fault="f1", link="back -> bank", kind="point", when=When(nth=(1,)),
        params={"phase": "after_answer", "node_action": "f1.2"},
    )  # fmt: skip
    act = NodeAction(id="f1.2", fault="f1", node="back", verb="kill", at_point="f1.1")
    client.install(kit.schedule(Installed(id="f1", kind="KillAt", target="back", rules=(point,), nodes=(act,))))
    assert client.faults("t")[0].hits == 0
    assert "paid" not in kit.get(state.links["test -> back"], "/pay")
    (record,) = client.faults("t")
    assert (record.hits, record.engine) == (1, "runtime")
    assert client.node_events()[-1].event == "killed"
    client.uninstall("s1")
    assert kit.get(state.links["test -> back"], "/pay").startswith("paid")


def test_an_unexpected_exit_closes_the_links_and_is_told(up: Up) -> None:
    client, state = up
    kit.get(state.links["test -> back"], "/die")
    kit.until(lambda: kit.get(state.links["test -> back"]) == "ConnectionRefusedError", what="the refusal")
    event = client.node_events()[-1]
    assert (event.node, event.event, event.detail) == ("back", "exited", "exit code 9")
    client.baseline()
    assert kit.get(state.links["test -> back"]).startswith("hello")


def test_baseline_gives_a_test_its_environment_and_takes_it_away(up: Up) -> None:
    client, state = up
    client.baseline(env={"back": {"GREETING": "moin"}})
    assert kit.get(state.links["test -> back"]).startswith("moin")
    client.baseline()
    assert kit.get(state.links["test -> back"]).startswith("hello")


def test_baseline_restarts_only_what_it_is_asked_to(up: Up) -> None:
    client, state = up
    front, back = kit.get(state.links["test -> front"]), kit.get(state.links["test -> back"])
    client.baseline(restart=["back"])
    assert kit.get(state.links["test -> front"]) == front
    assert kit.get(state.links["test -> back"]) != back


def test_a_restart_keeps_ports(up: Up) -> None:
    client, state = up
    client.node("back", "restart")
    assert client.state().ports == state.ports
    assert kit.get(state.ports["back"]["http"]).startswith("hello")


def test_logs_begin_at_the_baseline(up: Up) -> None:
    client, state = up
    kit.get(state.links["test -> back"], "/one")
    client.baseline()
    kit.get(state.links["test -> back"], "/two")
    assert "/two" in client.logs()["back"]
    assert "/one" not in client.logs()["back"]


def test_unknown_nodes_and_verbs_are_named(up: Up) -> None:
    with pytest.raises(StackError, match=r"'bakc' is no node.*back, front"):
        up[0].node("bakc", "kill")
    with pytest.raises(KeeperError, match="no keeper"):
        KeeperClient.connect(up[0].home.folder / "absent" / "keeper.sock")


def test_a_lost_lease_lifts_its_own_faults_only(up: Up) -> None:
    client, state = up
    other = KeeperClient.connect(client.home.socket)
    client.install(kit.schedule(kit.rule("status", "test -> front", code=503)))
    other.install(kit.schedule(kit.rule("status", "test -> back", fault="g1", code=503), name="s2", owner="u"))
    assert kit.get(state.links["test -> back"]) == kit.get(state.links["test -> front"]) == "str"
    other._channel.close()
    kit.until(lambda: kit.get(state.links["test -> back"]).startswith("hello"), what="the lift")
    assert kit.get(state.links["test -> front"]) == "str"
    client.uninstall("s1")


def test_one_test_at_a_time_has_the_stack(up: Up) -> None:
    client, _ = up
    with KeeperClient.connect(client.home.socket) as other:
        client.lock("a", timeout_s=1)
        with pytest.raises(KeeperError, match=r"b waited 0.2 s for the stack"):
            other.lock("b", timeout_s=0.2)
        client.unlock()
        other.lock("b", timeout_s=1)
    client.lock("a", timeout_s=2)  # the other's lease is gone, and its turn with it
    client.unlock()


def test_closing_the_last_lease_leaves_nothing() -> None:
    with kit.keeper(kit.spec_of(kit.service("one", source=kit.DAEMON + kit.SERVICE))) as (client, state):
        run, pid = client.home.run_id, kit.keeper_pid(client)
        assert len(kit.marked(run)) == 3  # wire, the service, its daemon
        began = time.monotonic()
    assert time.monotonic() - began < 5
    kit.until(lambda: not kit.left_of(run, pid), what="the end")
    assert kit.listening([*state.links.values(), *state.ports["one"].values()]) == []


def test_what_does_not_run_cannot_be_killed(up: Up) -> None:
    client, _ = up
    client.node("back", "kill")
    with pytest.raises(ChaosError, match="back cannot be killed: it is down; start it first"):
        client.install(kit.schedule(kit.action("kill", "back")))
    client.baseline()
