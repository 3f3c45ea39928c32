"""The front door for people who know toxiproxy-python: its client on our server, undone by us, never a proof."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_chaos.parts import toxiproxy
from tests.plugin.conftest import CONFTEST, SERVICE

TESTS = """
import time

import httpx
import pytest
import toxiproxy as package
from pytest_chaos import ChaosError, Latency
from toxiproxy.api import APIConsumer

LINK = "test -> front"
lenient = pytest.mark.chaos(allow_inconclusive=True)


def as_it_was(chaos, toxiproxy):
    proxies = toxiproxy.proxies()
    assert sorted(proxies) == ["idle -> front", LINK]
    assert [(proxy.enabled, proxy.toxics()) for proxy in proxies.values()] == [(True, {}), (True, {})]
    assert chaos.client("front").get("/").text == "v1"


def test_1_a_toxic_acts_and_is_unproved(chaos, toxiproxy):
    assert isinstance(toxiproxy, package.Toxiproxy)
    as_it_was(chaos, toxiproxy)
    toxiproxy.get_proxy(LINK).add_toxic(type="latency", attributes={"latency": 300})
    began = time.monotonic()
    assert chaos.client("front").get("/").text == "v1"
    assert time.monotonic() - began >= 0.3


@lenient
def test_2_it_is_gone_and_others_say_what_it_was(chaos, toxiproxy):
    as_it_was(chaos, toxiproxy)
    with toxiproxy.get_proxy(LINK).down(), pytest.raises(httpx.TransportError):
        chaos.client("front").get("/")
    (down,) = chaos.history().faults
    assert (down.kind, down.target, down.engine) == ("disabled proxy", LINK, "toxiproxy-python")
    assert down.lifted_ns is not None
    assert chaos.client("front").get("/").text == "v1"


@lenient
def test_3_beside_a_fault_of_ours(chaos, toxiproxy):
    with chaos.fault(Latency(LINK, 300)):
        assert list(toxiproxy.get_proxy(LINK).toxics())
        toxiproxy.get_proxy("idle -> front").add_toxic(type="timeout", attributes={"timeout": 0})
        chaos.client("front").get("/")
    kinds = {fault.kind: fault.hits for fault in chaos.history().faults}
    assert kinds == {"Latency": 1, "toxic timeout": 0}
    with pytest.raises(ChaosError, match="bound to a server already"), chaos.toxiproxy():
        pass


@lenient
def test_4_everything_is_broken_by_hand(chaos, toxiproxy):
    toxiproxy.get_proxy(LINK).destroy()
    toxiproxy.get_proxy("idle -> front").disable()
    toxiproxy.create(name="mine", upstream="127.0.0.1:9")


@lenient
def test_5_the_server_is_killed_by_a_toxic_that_it_does_not_survive(chaos, toxiproxy):
    as_it_was(chaos, toxiproxy)
    toxiproxy.get_proxy(LINK).add_toxic(type="bandwidth", attributes={"rate": -1})
    with pytest.raises(httpx.TransportError):
        chaos.client("front").get("/")


@lenient
def test_6_all_is_as_it_was(chaos, toxiproxy):
    as_it_was(chaos, toxiproxy)
    assert chaos.history().faults == ()


@lenient
def test_7_the_package_is_its_own_again(chaos):
    assert (APIConsumer.host, APIConsumer.port) == ("127.0.0.1", 8474)
    assert APIConsumer.post.__func__.__module__ == "toxiproxy.api"
"""
NO_TOXIPROXY = not toxiproxy.find(os.environ).found


def run(folder: Path, tests: str, links: str, *options: str) -> subprocess.CompletedProcess[str]:
    topology = CONFTEST.replace("\n    )\n", f"\n        toxiproxy={links},\n    )\n")
    files = {"conftest.py": topology, "service.py": SERVICE, "test_it.py": tests, "pytest.ini": "[pytest]\n"}
    for file, text in files.items():
        (folder / file).write_text(text)
    command = [sys.executable, "-m", "pytest", "--chaos", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.skipif(NO_TOXIPROXY, reason="no toxiproxy-server here: make setup")
def test_its_client_works_on_our_server_and_everything_is_undone(tmp_path: Path) -> None:
    done = run(tmp_path, TESTS, "['test -> front', 'idle -> front']")
    path = tmp_path / "reports" / "latest" / "journal.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    cases = {re.sub(r".*test_(\d)_.*", r"\1", one["nodeid"]): one for one in records if one["type"] == "test"}
    outcomes = "".join(case["outcome"][0] for case in cases.values())
    assert outcomes == "ipppepp", done.stdout
    said = " ".join(cases["1"]["message"].split())
    assert "the toxic latency on test -> front (stream=downstream, toxicity=1.0, latency=300)" in said
    assert "set through the toxiproxy fixture, is unproved" in said
    assert "Toxiproxy died (exit code 2)" in cases["5"]["message"]
    undos = [one for one in records if one["type"] == "undo" and one["fault"] == "toxiproxy"]
    assert len(undos) == 6
    assert [one for one in undos if not one["ok"]] == []
    assert "lists 2 proxies, each enabled, as it was" in undos[0]["proof"]
    assert "a TCP connection through test -> front reached its callee" in undos[0]["proof"]


def test_a_stack_without_toxiproxy_says_how_to_get_it(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_it(toxiproxy):\n    pass\n", "[]", "-q")
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "the toxiproxy fixture: no link of this stack has Toxiproxy; name links in Topology(..., toxiproxy" in said


@pytest.mark.skipif(NO_TOXIPROXY, reason="no toxiproxy-server here: make setup")
def test_a_missing_package_says_what_to_install(tmp_path: Path) -> None:
    tests = "import sys\nsys.modules['toxiproxy'] = None\n\n\ndef test_it(toxiproxy):\n    pass\n"
    done = run(tmp_path, tests, "['test -> front']", "-q")
    assert done.returncode == 1
    assert "pip install 'pytest-chaos[toxiproxy-python]'" in " ".join(done.stdout.split())


def test_a_fixture_of_that_name_of_somebodys_own_is_no_chaos_test(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import pytest\n\n\n@pytest.fixture\ndef toxiproxy():\n    return 'my own'\n")
    pytester.makepyfile("def test_it(toxiproxy):\n    assert toxiproxy == 'my own'\n")
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
