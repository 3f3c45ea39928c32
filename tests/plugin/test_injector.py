"""Which engine does byte faults is the user's choice; each link's engine stands in the journal; a refusal is proved."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conformance.wire.conftest import packets_can_be_seen
from tests.plugin.conftest import CONFTEST, SERVICE

TESTS = """
import contextlib
import time

import httpx
import pytest
from pytest_chaos import Corrupt, Idempotency, Latency, Refuse, ResetConnections

ORDER = {"order": "o-1"}
pytestmark = pytest.mark.chaos(allow_inconclusive=True)


def test_latency(chaos):
    with chaos.fault(Latency("test -> front", 300)):
        began = time.monotonic()
        chaos.client("front").get("/")
        assert time.monotonic() - began >= 0.3


def test_percentiles_on_the_way_to_a_stub(chaos):
    with chaos.fault(Latency("front -> bank", "p1 300 ms, p99 301 ms")):
        began = time.monotonic()
        chaos.client("front").post("/charges", json=ORDER)
        assert time.monotonic() - began >= 0.2


def test_refuse_and_reset(chaos):
    with chaos.fault(Refuse("test -> front")), pytest.raises(httpx.ConnectError):
        chaos.client("front").get("/")
    with chaos.fault(Refuse("front -> bank")):
        assert chaos.client("front").post("/charges", json=ORDER).status_code == 502
    reset = ResetConnections("test -> front", which="new")
    # httpx passes over the reset that meets its request and then finds the connection closed.
    seen = pytest.raises((httpx.NetworkError, httpx.RemoteProtocolError), match="Errno 104|Server disconnected")
    with chaos.fault(reset), seen:
        chaos.client("front").get("/")
"""


def run(folder, *options):
    topology = CONFTEST.replace("    )\n", '        toxiproxy=["test -> front"],\n    )\n')
    topology = topology.replace(
        'watch=["service.py"],\n        toxiproxy=["test -> front"],\n    )', 'watch=["service.py"])'
    )
    files = {"conftest.py": topology, "service.py": SERVICE, "test_it.py": TESTS, "pytest.ini": "[pytest]\n"}
    for file, text in files.items():
        (folder / file).write_text(text)
    command = [sys.executable, "-m", "pytest", "--chaos", "-q", *options]
    # No Toxiproxy can be found: not on this PATH, not in that cache.
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTEST_CHAOS_CACHE": str(folder / "cache")}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False, env=env)
    path = folder / "reports" / "latest" / "journal.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return done, records


def test_with_wire_no_toxiproxy_is_needed_and_every_fault_is_proved(tmp_path):
    done, records = run(tmp_path, "--chaos-injector=wire")
    assert done.returncode == 0, done.stdout + done.stderr
    cases = [record for record in records if record["type"] == "test"]
    faults = [fault for case in cases for fault in case["history"]["faults"]]
    assert [(fault["kind"], fault["engine"]) for fault in faults] == [
        ("Latency", "wire"), ("Latency", "wire"), ("Refuse", "wire"), ("Refuse", "wire"), ("ResetConnections", "wire"),
    ]  # fmt: skip
    unproved = [fault["target"] for fault in faults if not fault.get("hits")]
    assert unproved == ([] if packets_can_be_seen() else ["front -> bank"])
    links = next(record["links"] for record in records if "links" in record)
    assert links
    assert {link.get("engine", "wire") for link in links} == {"wire"}, "the default is left out"


def test_with_auto_a_link_that_was_to_have_toxiproxy_says_what_is_missing_and_what_to_do(tmp_path):
    done, _ = run(tmp_path, "-k", "test_latency")
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "test -> front: this link was to have Toxiproxy, which is missing" in said
    assert "--chaos-injector=wire does byte faults without it" in said
