"""A service that reaches another by another address than its link is named, and a fault on that link proves nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

# Answers, and passes POSTs on over one connection of its own: to NEXT_URL, or to the port that the callee wrote down.
SERVICE = """
import http.client
import os
import pathlib
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

pathlib.Path("port-" + os.environ["PYTEST_CHAOS_NODE"]).write_text(os.environ["PORT"])
links = []


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("X-Correlation-Id", self.headers.get("X-Correlation-Id", ""))
        self.end_headers()

    def do_GET(self):
        self.answer(200)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "NEXT_URL" not in os.environ:
            return self.answer(201)
        if not links:
            found = pathlib.Path("port-back") if self.path == "/around" else None
            where = f"127.0.0.1:{found.read_text()}" if found else urllib.parse.urlsplit(os.environ["NEXT_URL"]).netloc
            links.append(http.client.HTTPConnection(where, timeout=5))
        links[0].request("POST", self.path, body, {"X-Correlation-Id": self.headers.get("X-Correlation-Id", "")})
        answer = links[0].getresponse()
        answer.read()
        self.answer(answer.status)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Service).serve_forever()
"""
CONFTEST = """
import pytest
from pytest_chaos import Retry, Service, Topology


@pytest.fixture(scope="session")
def chaos_topology():
    command = ["python", "service.py"]
    return Topology(
        Service("front", command=command, ports={"http": "PORT"}, calls={"NEXT_URL": "http://{back.http}"},
                policies={"back": [Retry()]}),
        Service("back", command=command, ports={"http": "PORT"}),
    )
"""
TESTS = """
import pytest
from pytest_chaos import Correlation, Delay


@pytest.mark.chaos(isolation="fresh")
@pytest.mark.parametrize("path", ["/through", "/around"])
def test_it(chaos, path):
    with chaos.fault(Delay("front -> back", 1)):
        for _ in range(3):
            assert chaos.client("front").post(path, json={}).status_code == 201
    chaos.check(Correlation(rules=("X5",)))


@pytest.mark.chaos(isolation="fresh")
def test_without_a_fault_there(chaos):
    assert chaos.client("front").post("/around", json={}).status_code == 201
    chaos.check(Correlation(rules=("X5",)))
"""


def test_a_connection_around_the_proxy_is_named(pytester: pytest.Pytester) -> None:
    pytester.makefile(".py", service=SERVICE)
    pytester.makeconftest(CONFTEST)
    pytester.makefile(".ini", pytest="[pytest]\n")
    pytester.makepyfile(test_it=TESTS)
    run = pytester.runpytest_subprocess("--chaos", "-p", "no:cacheprovider", "-q")
    run.assert_outcomes(passed=2, failed=1, warnings=2)
    run.stdout.fnmatch_lines(["*PytestWarning: test_it.py::test_it?/around?: front reached back at 127.*directly*"])
    lines = (pytester.path / "reports" / "latest" / "journal.jsonl").read_text().splitlines()
    records = [record for record in map(json.loads, lines) if record["type"] == "test"]
    cases: dict[str, Any] = {record["nodeid"].partition("::")[2]: record for record in records}
    assert cases["test_it[/through]"]["outcome"] == cases["test_without_a_fault_there"]["outcome"] == "passed"
    assert "around" not in cases["test_it[/through]"]["history"]
    case = cases["test_it[/around]"]
    assert case["outcome"] == "inconclusive"
    said = " ".join(case["message"].split())
    assert "Delay on front -> back did not act on all that passed there: front reached back at 127.0.0.1:" in said
    (bypass,) = case["history"]["around"]
    assert bypass["address"] == f"127.0.0.1:{(pytester.path / 'port-back').read_text()}"
    assert (bypass["caller"], bypass["callee"], bypass["connections"]) == ("front", "back", 1)
