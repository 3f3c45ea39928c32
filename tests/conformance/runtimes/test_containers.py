"""The same stack in containers: one network, wire on its gateway, everything labelled, everything gone at the end."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_chaos.brokers.base import observer_for
from pytest_chaos.brokers.kafka import Kafka
from pytest_chaos.brokers.rabbitmq import RabbitMQ
from pytest_chaos.brokers.redis import Redis
from pytest_chaos.errors import StackError
from pytest_chaos.keeper.client import KeeperClient, StackState
from pytest_chaos.keeper.sweep import sweep_now
from pytest_chaos.model.fault import ByteFault, Installed
from pytest_chaos.model.plan import StackSpec, StubOperation
from pytest_chaos.model.topology import Http, Service, Stub, Tcp
from pytest_chaos.runtimes.containers import labels, leftovers
from tests.conformance.runtimes import boxes, kit
from tests.conformance.runtimes.boxes import IMAGE, SERVICE, of_run, service, spec_of
from tests.conformance.wire.conftest import packets_can_be_seen

WHY = boxes.missing()
pytestmark = pytest.mark.skipif(bool(WHY), reason=WHY)
Up = tuple[KeeperClient, StackState]


def chain() -> StackSpec:
    return spec_of(
        service("front", calls={"UP": "http://{back.http}"}),
        service("back", calls={"BANK": "http://{bank}"}, ready=Tcp(), env={"LATE_S": "0.7"}),
        Stub("bank", {"POST /pay": StubOperation(body={"receipt": "{seq}"})}),
        toxiproxy=("front -> back",),
    )


@pytest.fixture(scope="module")
def stack() -> Iterator[Up]:
    with kit.keeper(chain()) as (client, state):
        yield client, state


@pytest.fixture
def up(stack: Up) -> Up:
    stack[0].baseline()
    return stack


def test_every_node_is_a_container_that_carries_the_runs_label(up: Up) -> None:
    client, state = up
    assert sorted(of_run(client.home.run_id)) == ["a network", "back", "front", "toxiproxy"]
    parts = {part["node"]: part for part in state.parts}
    assert all(len(parts[node]["container"]) == 64 for node in ("front", "back", "toxiproxy"))
    assert parts["wire"]["runtime"] == "processes"
    assert parts["toxiproxy"]["version"] == "2.12.0"


@pytest.mark.skipif(not packets_can_be_seen(), reason="no right to see packets (CAP_NET_RAW)")
def test_what_a_container_was_refused_is_counted_once(up: Up) -> None:
    client, state = up
    client.install(kit.schedule(kit.rule("refuse", "front -> back")))
    assert "refused" in kit.get(state.links["test -> front"], "/ask")
    (record,) = client.uninstall("s1")
    assert record.hits == 1
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")


def test_a_containers_handshake_is_held(up: Up) -> None:
    client, state = up
    client.install(kit.schedule(kit.rule("hold_connect", "front -> back", ms=60_000)))
    assert kit.get(state.links["test -> front"], "/ask", timeout_s=0.7) == "TimeoutError"
    (record,) = client.uninstall("s1")
    assert record.hits >= 1


def test_links_are_on_the_gateway_alone(up: Up) -> None:
    _, state = up
    hosts = {where.rpartition(":")[0] for where in state.links.values()}
    assert len(hosts) == 1
    assert not hosts & {"0.0.0.0", "127.0.0.1"}
    ports = [int(where.rpartition(":")[2]) for where in state.links.values()]
    assert kit.listening([f"127.0.0.1:{port}" for port in ports]) == []


def test_calls_go_over_links(up: Up) -> None:
    client, state = up
    before = client.mark().offset
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")
    assert "receipt" in kit.get(state.links["test -> back"], "/pay")
    end = client.mark().offset
    rows = [json.loads(line) for line in client.attempts_spool.read_bytes()[before:end].splitlines()]
    assert {row["link"] for row in rows if row["k"] == "a"} >= {"test -> front", "front -> back", "back -> bank"}


def test_a_node_is_ready_when_it_listens_itself(up: Up) -> None:
    client, _ = up
    client.node("back", "restart")
    ready = [event for event in client.node_events() if event.node == "back" and event.event == "ready"][-1]
    assert float(ready.detail.split()[0]) >= 0.7


def test_a_killed_node_refuses_and_comes_back_where_it_was_with_its_data(up: Up) -> None:
    client, state = up
    before = kit.get(state.links["test -> back"])
    client.node("back", "kill")
    assert kit.get(state.links["test -> back"]) == "ConnectionRefusedError"
    assert "refused" in kit.get(state.links["test -> front"], "/ask").lower()
    client.node("back", "start")
    assert _starts(kit.get(state.links["test -> back"])) == _starts(before) + 1
    assert client.state().ports == state.ports


def test_other_settings_are_a_new_container_with_the_same_data(up: Up) -> None:
    client, state = up
    before = kit.get(state.links["test -> back"])
    client.baseline(env={"back": {"GREETING": "moin"}})
    after = kit.get(state.links["test -> back"])
    assert after.startswith("moin")
    assert _starts(after) == _starts(before) + 1
    assert sorted(of_run(client.home.run_id)) == ["a network", "back", "front", "toxiproxy"]


def test_a_stop_is_a_signal_that_the_service_gets(up: Up) -> None:
    client, _ = up
    client.node("back", "stop")
    assert client.logs()["back"].endswith("bye\n")
    client.node("back", "start")


def test_a_paused_node_hangs_and_goes_on_and_can_be_killed(up: Up) -> None:
    client, state = up
    before = kit.get(state.links["test -> back"])
    client.node("back", "pause")
    assert kit.get(state.links["test -> back"], timeout_s=0.3) == "TimeoutError"
    client.node("back", "resume")
    assert kit.get(state.links["test -> back"]) == before
    client.node("back", "pause")
    client.node("back", "kill")
    client.node("back", "start")
    assert _starts(kit.get(state.links["test -> back"])) == _starts(before) + 1


def test_an_unexpected_exit_is_told_with_its_status(up: Up) -> None:
    client, state = up
    kit.get(state.links["test -> back"], "/die")
    kit.until(lambda: kit.get(state.links["test -> back"]) == "ConnectionRefusedError", what="the refusal")
    kit.until(lambda: client.node_events()[-1].event == "exited", what="the event")
    assert client.node_events()[-1].detail == "exit code 9"


def test_a_toxic_of_a_contained_toxiproxy_acts_and_goes(up: Up) -> None:
    client, state = up
    toxic = ByteFault(id="f1.1", fault="f1", link="front -> back", toxic="latency", attributes={"latency": 300})
    client.install(kit.schedule(Installed(id="f1", kind="latency", target="front -> back", toxics=(toxic,))))
    began = time.monotonic()
    assert kit.get(state.links["test -> front"], "/ask").startswith("via hello")
    assert time.monotonic() - began >= 0.3
    (record,) = client.uninstall("s1")
    assert (record.engine, record.hits) == ("toxiproxy", 1)


def test_brokers_run_in_containers_and_tell_their_versions_and_backlogs() -> None:
    nodes = (Kafka("events"), RabbitMQ("bus"), Redis("keys", streams=("s",)), service("one", uses={"K": "events"}))
    with kit.keeper(spec_of(*nodes)) as (client, state):
        versions = {part["node"]: part["version"] for part in state.parts if part["node"] in ("events", "bus", "keys")}
        assert all(version[0].isdigit() for version in versions.values()), versions
        observers = [observer_for(kind, state.direct[name], {}, name=name) for kind, name in _KINDS]
        try:
            for observer in observers:
                observer.begin()
            assert [sum(observer.backlog().values()) for observer in observers] == [0, 0, 0]
            client.node("bus", "kill")
            assert observers[1].backlog() == {"queues": -1}
            client.node("bus", "start")
            kit.until(lambda: sum(observers[1].backlog().values()) == 0, what="the backlog's return")
        finally:
            for observer in observers:
                observer.close()


_KINDS = (("kafka", "events"), ("rabbitmq", "bus"), ("redis", "keys"))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("", r"one: it has no image to run as a container: give it one, or use --chaos-runtime=processes"),
        ("nobody/has-this:1", r"one: its image nobody/has-this:1 is not here and cannot be .*PYTEST_CHAOS_IMAGE_ONE"),
    ],
)
def test_a_service_without_an_image_is_one_clear_error(image: str, said: str) -> None:
    spec = spec_of(Service("one", command=("python", "-c", ""), image=image, ports={"http": "PORT"}, ready=Http("/")))
    client = KeeperClient.spawn(kit.run_id())
    with client, pytest.raises(StackError, match=said):
        client.start(spec)
    kit.until(lambda: not of_run(client.home.run_id), what="the end")


def test_a_service_that_dies_at_its_start_is_shown_with_its_last_lines() -> None:
    client = KeeperClient.spawn(kit.run_id())
    with client, pytest.raises(StackError, match=r"(?s)one: died at its start \(exit code 3\).*no luck today"):
        client.start(spec_of(kit.service("one", source="print('no luck today'); exit(3)", image=IMAGE)))
    kit.until(lambda: not of_run(client.home.run_id), what="the end")


CLIENT = """
import sys, time
sys.path.insert(0, {root!r})
from pytest_chaos.keeper.client import KeeperClient
from tests.conformance.runtimes import boxes
client = KeeperClient.spawn({run!r})
client.start(boxes.spec_of(boxes.service("one")))
print("up", flush=True)
time.sleep(600)
"""


def _client(run: str) -> subprocess.Popen[str]:
    source = CLIENT.format(root=str(Path(__file__).parents[3]), run=run)
    client = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    assert client.stdout.readline() == "up\n"
    client.stdout.close()
    return client


def test_a_killed_client_leaves_nothing_within_ten_seconds() -> None:
    run = kit.run_id()
    client = _client(run)
    assert sorted(of_run(run)) == ["a network", "one"]
    client.kill()
    client.wait()
    kit.until(lambda: not of_run(run) and not kit.left_of(run), timeout_s=10, what=f"the end of {run}")


def test_what_a_killed_keeper_left_is_swept_and_nothing_else(up: Up) -> None:
    run = kit.run_id()
    client = _client(run)
    record = json.loads((up[0].home.folder.parent / run / "keeper.json").read_text())
    os.kill(record["pid"], signal.SIGKILL)
    client.kill()
    client.wait()
    kit.until(lambda: not kit.marked(run), what="the end of its processes")
    assert "one" in of_run(run)
    swept = {one.run_id: one for one in sweep_now()}
    assert swept[run].left == ()
    assert of_run(run) == []
    assert kit.get(up[1].links["test -> back"]).startswith("hello")


def test_containers_of_a_run_whose_folder_is_gone_are_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    run = kit.run_id()
    dead = subprocess.Popen(["true"])
    dead.wait()
    identity = labels._identity(os.getpid()).replace(str(os.getpid()), str(dead.pid), 1)
    made = {labels.RUN: run, labels.KEEPER: identity, labels.NODE: "one"}
    flags = [flag for name, value in made.items() for flag in ("--label", f"{name}={value}")]
    subprocess.run(["docker", "create", *flags, IMAGE, "true"], check=True, capture_output=True)
    assert leftovers.of_dead_runs(os.environ)[run] == (1, [])
    assert of_run(run) == []


def _starts(said: str) -> int:
    return int(said.rpartition(" ")[2])


def _build(tag: str, line: str) -> None:
    subprocess.run(["docker", "build", "-q", "-t", tag, "-"], input=f"FROM {IMAGE}\n{line}\n".encode(), check=True)


def test_a_kept_node_whose_image_was_built_anew_runs_the_new_one(tmp_path: Path) -> None:
    tag = f"pytest-chaos/{kit.run_id()}:local"
    source = SERVICE.replace('"GREETING", "hello"', '"BUILT", "?"')
    one = kit.service("one", source=source, image=tag, env={"DATA_DIR": "{data}"})
    spec = dataclasses.replace(spec_of(one, service("two")), project=str(tmp_path))
    said, keepers = [], set()
    try:
        for number in range(2):
            _build(tag, f"ENV BUILT=image{number}")
            client, _ = KeeperClient.join(kit.run_id(), keep=True, project=tmp_path)
            with client:
                state = client.start(spec)
                keepers.add((client.home.run_id, kit.keeper_pid(client)))
                said += [kit.get(state.links[f"test -> {name}"]) for name in ("one", "two")]
        assert said == ["image0 start 1", "hello start 1", "image1 start 2", "hello start 1"]
    finally:
        for run, pid in keepers:
            os.kill(pid, signal.SIGTERM)
            kit.until(lambda run=run: not of_run(run), what="the end")
        subprocess.run(["docker", "rmi", "-f", tag], check=True, capture_output=True)
