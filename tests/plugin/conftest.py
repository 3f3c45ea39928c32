"""A small project of somebody else's: two plain services and a stub, made in pytester's folder."""

from __future__ import annotations

import pytest

SERVICE = """
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Correlation-Id", self.headers.get("X-Correlation-Id", ""))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, os.environ.get("ANSWER", "v1").encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            passed_on = {name: self.headers.get(name, "") for name in ("Idempotency-Key", "X-Correlation-Id")}
            request = urllib.request.Request(os.environ["NEXT_URL"] + self.path, body, passed_on)
            urllib.request.urlopen(request, timeout=5)
            self.answer(201)
        except OSError as error:
            print("failed:", error, flush=True)
            self.answer(502)


ThreadingHTTPServer.request_queue_size = 64  # the default of 5 drops a burst's connections, which come again after 1 s
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Service).serve_forever()
"""

CONFTEST = """
import pytest
from pytest_chaos import Service, Stub, StubOperation, Topology


def _service(name, url):
    command = ["python", "service.py"]
    return Service(name, command=command, ports={"http": "PORT"}, calls={"NEXT_URL": url}, watch=["service.py"])


@pytest.fixture(scope="session")
def chaos_topology():
    return Topology(
        _service("front", "http://{bank.http}"),
        _service("idle", "http://{front.http}"),
        Stub("bank", {"POST /charges": StubOperation(status=201, key="json:/order")}),
    )
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """Somebody's project, with a stack of two services and a stub."""
    pytester.makefile(".py", service=SERVICE)
    pytester.makeconftest(CONFTEST)
    pytester.makefile(".ini", pytest="[pytest]\n")
    return pytester
