"""The client libraries of HTTP, gRPC and plain TCP, each as it comes but for a time limit and no retries of its own.

A client is opened at an address, makes calls that are told apart by a marker, and is closed. ``call`` gives what its
user got, in words that hold on every run: the exception's class, a gRPC status, or "answered" and what is wrong there.
"""

from __future__ import annotations

import contextlib
import socket

from pytest_chaos.wire.table import Facts
from tests.conformance.table.server import METHOD, SERVICE, body

LIMIT_S = 1.5
FROM = {"x-from": "table"}
ANSWERED = "answered"


def named(error):
    """Name an exception by its class."""
    return f"`{type(error).__name__}`"


def judged(marker, status, said, head):
    """Say what is wrong with an HTTP answer, if anything."""
    wrong = [f"answered {status}"] if status != 200 else [ANSWERED]
    if status == 200 and said != body(marker):
        wrong.append("another body")
    if status == 200 and said == body(marker) and head.get("x-work") != "done":
        wrong.append("another header")
    if status == 200 and said == body(marker) and head.get("x-read") != FROM["x-from"]:
        wrong.append("the server read another header")
    return ", ".join(wrong)


class Client:
    """What the others share. ``facts``: what wire sees of a call, by which it is decided whether a fault claims it.

    ``work_s``: how long a consumer has a message in hand before it acknowledges it.
    """

    name = protocol = node = ""
    consumes = False
    work_s = 0.0
    facts: tuple[Facts, ...] = ()
    errors: tuple[type[BaseException], ...] = (OSError,)

    def __init__(self, address, marker, shared=""):
        """``marker`` is this client's alone; publishers that look at one fault share what they publish to."""
        self.address, self.marker = address, marker
        self.own = marker if self.consumes else shared or marker

    def words(self):
        """Give the words that an example may use for what is the client's own at its callee."""
        return {}

    def prepare(self):
        """Make what the client works with, past the link, before there is a fault."""

    def before(self, marker):
        """Offer what a call is to receive, past the link."""

    def call(self, marker):
        try:
            return self.ask(marker)
        except self.errors as error:
            return named(error)


class Httpx(Client):
    name, protocol, node = "httpx", "HTTP/1.1", "http"
    facts = (Facts(protocol="http/1.1", operation="POST /jobs/m"),)
    http2 = False

    def open(self):
        import httpx

        self.errors = (httpx.HTTPError,)
        where, speaks = f"http://{self.address}", {"http1": not self.http2, "http2": self.http2}
        self._client = httpx.Client(base_url=where, timeout=LIMIT_S, trust_env=False, **speaks)

    def ask(self, marker):
        answer = self._client.post(f"/jobs/{marker}", content=b"{}", headers=FROM)
        return judged(marker, answer.status_code, answer.content, answer.headers)

    def close(self):
        self._client.close()


class HttpxH2(Httpx):
    name, protocol, node = "httpx over HTTP/2", "HTTP/2", "h2"
    facts = (Facts(protocol="h2", operation="POST /jobs/m"),)
    http2 = True


class Requests(Client):
    name, protocol, node, facts = "requests", "HTTP/1.1", "http", Httpx.facts

    def open(self):
        import requests

        self.errors = (requests.RequestException,)
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self, marker):
        url = f"http://{self.address}/jobs/{marker}"
        answer = self._session.post(url, data=b"{}", headers=FROM, timeout=LIMIT_S)
        return judged(marker, answer.status_code, answer.content, answer.headers)

    def close(self):
        self._session.close()


class Urllib3(Client):
    name, protocol, node, facts = "urllib3", "HTTP/1.1", "http", Httpx.facts

    def open(self):
        import urllib3

        self.errors = (urllib3.exceptions.HTTPError,)
        self._pool = urllib3.PoolManager(retries=False, timeout=LIMIT_S)

    def ask(self, marker):
        url = f"http://{self.address}/jobs/{marker}"
        answer = self._pool.request("POST", url, body=b"{}", headers=FROM)
        return judged(marker, answer.status, answer.data, answer.headers)

    def close(self):
        self._pool.clear()


class Grpc(Client):
    name, protocol, node = "grpcio", "gRPC", "grpc"
    facts = (Facts(protocol="grpc", operation=f"/{SERVICE}/{METHOD}"),)
    OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))

    def open(self):
        import grpc

        self.errors = (grpc.RpcError,)
        self._channel = grpc.insecure_channel(self.address, options=self.OPTIONS)
        self._do = self._channel.unary_unary(f"/{SERVICE}/{METHOD}")

    def call(self, marker):
        try:
            said, done = self._do.with_call(marker.encode(), timeout=LIMIT_S, metadata=tuple(FROM.items()))
        except self.errors as error:
            return f"`{error.code().name}`"
        return judged(marker, 200, said, dict(done.initial_metadata()))

    def close(self):
        self._channel.close()


class Tcp(Client):
    name, protocol, node = "a bare socket", "TCP", "tcp"
    facts = (Facts(protocol="tcp"),)

    def open(self):
        self._socket = None

    def ask(self, marker):
        if self._socket is None:
            host, _, port = self.address.rpartition(":")
            self._socket = socket.create_connection((host, int(port)), LIMIT_S)
        # The zero byte says at once that this is no HTTP.
        self._socket.sendall(f"\0{marker}\n".encode())
        wanted, got = b"\0" + body(marker) + b"\n", b""
        while len(got) < len(wanted):
            data = self._socket.recv(len(wanted) - len(got))
            if not data:
                return "end of stream" + (", after a part of the answer" if got else "")
            got += data
        return ANSWERED if got == wanted else f"{ANSWERED}, another body"

    def close(self):
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.close()


PLAIN = (Httpx, Requests, Urllib3, HttpxH2, Grpc, Tcp)
