"""A kept stack: the next run finds it up, and only what has changed is started anew."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_chaos.keeper import home
from pytest_chaos.keeper.client import KeeperClient
from pytest_chaos.model.plan import StackSpec, StubOperation
from pytest_chaos.model.topology import Http, Service, Stub
from tests.conformance.runtimes import kit


def spec(project: Path, **env: str) -> StackSpec:
    one = Service("one", command=("python", "one.py"), ports={"http": "PORT"}, ready=Http("/"), env=env)
    two = kit.service("two", calls={"UP": "http://{one}"})
    return kit.spec_of(one, two, Stub("bank", {"POST /pay": StubOperation()}), project=project)


@contextlib.contextmanager
def run(project: Path) -> Iterator[KeeperClient]:
    client, _ = KeeperClient.join(kit.run_id(), keep=True, project=project)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "one.py").write_text(kit.SERVICE)
    with run(tmp_path) as first:
        first.start(spec(tmp_path))
        pid = kit.keeper_pid(first)
    yield tmp_path
    os.kill(pid, signal.SIGTERM)
    kit.until(lambda: not kit.left_of(first.home.run_id, pid), what="the end")


def test_the_next_run_finds_the_stack_up(project: Path) -> None:
    with run(project) as again:
        began = time.monotonic()
        lines: list[str] = []
        state = again.start(spec(project), lines.append)
        assert time.monotonic() - began < 2
        assert lines == []
        assert kit.get(state.links["test -> two"], "/ask").startswith("via hello")


def test_an_edited_service_serves_its_new_code_and_others_stay(project: Path) -> None:
    with run(project) as again:
        state = again.start(spec(project))
        two = kit.get(state.links["test -> two"])
    (project / "one.py").write_text(kit.SERVICE.replace('"hello"', '"edited code"'))
    with run(project) as again:
        state = again.start(spec(project))
        assert kit.get(state.links["test -> one"]).startswith("edited code")
        assert kit.get(state.links["test -> two"]) == two


def test_another_environment_restarts_the_node(project: Path) -> None:
    with run(project) as again:
        state = again.start(spec(project, GREETING="moin"))
        assert kit.get(state.links["test -> one"]).startswith("moin")


def test_another_topology_is_started_anew(project: Path) -> None:
    with run(project) as again:
        state = again.start(kit.spec_of(kit.service("three"), project=project))
        assert kit.get(state.links["test -> three"]).startswith("hello")
        assert set(state.links) == {"test -> three"}


def test_a_killed_run_leaves_no_fault_in_a_kept_stack(project: Path) -> None:
    with run(project) as again:
        again.start(spec(project))
        again.install(kit.schedule(kit.rule("status", "two -> one", code=503), kit.action("kill", "one", fault="f2")))
        again._channel.close()
    with run(project) as again:
        state = again.start(spec(project))
        kit.until(lambda: kit.get(state.links["test -> two"], "/ask").startswith("via hello"), what="the lift")


def test_a_run_beside_one_that_uses_the_kept_stack_gets_its_own(project: Path) -> None:
    with run(project) as one, run(project) as two:
        first, second = one.start(spec(project)), two.start(spec(project))
        assert one.home != two.home
        assert not set(first.links.values()) & set(second.links.values())
        other, pid = two.home.run_id, kit.keeper_pid(two)
    kit.until(lambda: not kit.left_of(other, pid), what="the end")


def test_workers_of_one_run_share_one_keeper(tmp_path: Path) -> None:
    run_id = kit.run_id()
    one, first = KeeperClient.join(run_id, project=tmp_path)
    two, second = KeeperClient.join(run_id, project=tmp_path)
    assert (first, second) == (True, False)
    spec = kit.chain()
    assert one.start(spec).links == two.start(spec).links
    assert one.close().last is False
    assert kit.get(two.state().links["test -> front"]).startswith("hello")
    assert two.close().last is True


def test_a_late_worker_gets_a_new_stack_of_the_same_run(tmp_path: Path) -> None:
    run_id = kit.run_id()
    one, _ = KeeperClient.join(run_id, project=tmp_path)
    one.start(kit.chain())
    one._channel.close()  # it dies; its keeper is busy removing when the next one comes
    two, first = KeeperClient.join(run_id, project=tmp_path)
    with two:
        assert first is True
        assert kit.get(two.start(kit.chain()).links["test -> front"]).startswith("hello")
    kit.until(lambda: not kit.left_of(run_id), what="the end")


def test_a_kept_stack_without_a_lease_ends_after_its_time(tmp_path: Path) -> None:
    run = home.run_home(kit.run_id())
    run.folder.mkdir()
    command = [sys.executable, "-m", "pytest_chaos.keeper", "--run-id", run.run_id, "--run-dir", str(run.folder)]
    subprocess.run([*command, "--keep", "--idle-s", "0.5"], check=True)
    kit.until(run.socket.exists)
    with KeeperClient.connect(run.socket) as client:
        client.start(kit.chain())
        pid = kit.keeper_pid(client)
        time.sleep(0.7)  # a lease holds it
        assert client.running() == {"front", "back"}
    kit.until(lambda: not kit.left_of(run.run_id, pid), what="the end")
