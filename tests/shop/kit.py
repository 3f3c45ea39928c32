"""Starts the shop's services as child processes, and plays their dependencies.

Stubs that lose, hold and refuse on request.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """Give a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(look: Callable[[], Any], *, within_s: float = 8.0) -> Any:
    """Look until the answer is true; give it, or fail with the last one."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"did not come true within {within_s} s; last: {found!r}"
        time.sleep(0.02)
    return found


class Request:
    """One request as the stub saw it."""

    def __init__(self, handler: BaseHTTPRequestHandler, number: int) -> None:
        self.number = number
        self.method = handler.command
        self.path = handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = handler.rfile.read(int(self.headers.get("content-length", 0)))
        self.key = self.headers.get("idempotency-key", "")
        self.at_s = time.monotonic()

    @property
    def json(self) -> dict[str, Any]:
        """Give the payload."""
        return json.loads(self.body) if self.body else {}


Answer = tuple[int, Mapping[str, Any]]


class Stub:
    """An HTTP dependency. ``effects`` holds what was done, once a key.

    ``answer`` may refuse, ``lose`` and ``hold`` act after the work.
    """

    def __init__(self, *, forward: str = "") -> None:
        self.effects: dict[str, Request] = {}
        self.reset()
        self._onward = httpx.Client(base_url=forward, timeout=10.0) if forward else None
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self) -> None:
                with suppress(OSError):
                    stub._serve(self)

            do_GET = do_POST  # noqa: N815 - http.server's name

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def reset(self) -> None:
        """Answer everything well, and forget the requests, though not the effects."""
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Answer | None] = lambda _: None
        self.lose: Callable[[Request], bool] = lambda _: False
        self.after: Callable[[Request], None] = lambda _: None

    def new_effects(self) -> int:
        """Count the effects of the requests since the reset."""
        return sum(request in self.effects.values() for request in self.requests)

    def of(self, path: str) -> list[Request]:
        """List the requests for a path."""
        return [request for request in self.requests if request.path == path]

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        if self._onward:
            self._onward.close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            request = Request(handler, len(self.requests))
            self.requests.append(request)
        status, body = self.answer(request) or self._work(request)
        self.after(request)
        if self.lose(request):
            handler.close_connection = True
            return
        raw = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("content-length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)
        handler.wfile.flush()

    def _work(self, request: Request) -> Answer:
        if self._onward:
            answer = self._onward.request(
                request.method,
                request.path,
                content=request.body,
                headers={
                    name: value for name, value in request.headers.items() if name not in ("host", "content-length")
                },
            )
            return answer.status_code, answer.json()
        with self._lock:
            first = self.effects.setdefault(request.key or f"request-{request.number}", request)
        return 200, {"id": f"done-{first.number}"}


class Relay:
    """A TCP link to a broker that can be cut: connections are reset and new ones refused until it is mended."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self.port = free_port()
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.mend()

    def mend(self) -> None:
        """Listen."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Reset everything and stop listening."""
        listener, self._listener = self._listener, None
        if listener:
            # A thread in accept() keeps the port; it has to be woken.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        while self._open:
            self._end(self._open.pop())

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._target)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        self._end(sink)
        self._end(source)

    @staticmethod
    def _end(one: socket.socket) -> None:
        with suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.shutdown(socket.SHUT_RDWR)
        one.close()


class Service:
    """A service of the shop, as a child process."""

    def __init__(self, name: str, home: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.port = free_port()
        self.grpc_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.target = f"127.0.0.1:{self.grpc_port}"
        self._log = home / f"{name}.log"
        self._env = {
            "PATH": os.environ["PATH"],
            "PORT": str(self.port),
            "GRPC_PORT": str(self.grpc_port),
            "DATA_DIR": str(home),
            **env,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Lock()
        # Fresh connections: a kept one would outlive the process that it leads to.
        self._client = httpx.Client(trust_env=False, verify=False, limits=httpx.Limits(max_keepalive_connections=0))  # noqa: S501 - no TLS here

    def start(self, **env: str) -> Service:
        """Start it and wait until it answers."""
        self.kill()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"services_under_test.{self.name}"],
                env={**self._env, **env},
                cwd=ROOT,
                stderr=log,
            )
        eventually(self._answers, within_s=20)
        return self

    def kill(self) -> None:
        """Kill it without a word."""
        with self._ending:
            if self._process:
                self._process.kill()
                self._process.wait()
                self._process = None

    def close(self) -> None:
        """Kill it and forget it."""
        self.kill()
        self._client.close()

    def stop(self) -> int:
        """Ask it to stop; give its exit status."""
        if not self._process:
            return 0
        self._process.terminate()
        return self._process.wait(10)

    def log(self) -> str:
        """Give what it wrote."""
        return self._log.read_text()

    def rows(self, ledger: str) -> list[dict[str, Any]]:
        """Give the rows of one of its ledgers."""
        return [row for row in self._client.get(f"{self.url}/effects").json() if row["ledger"] == ledger]

    def post(
        self, path: str, body: Mapping[str, Any], *, key: str = "", timeout_s: float = 10.0, **headers: str
    ) -> httpx.Response:
        """Send a request."""
        more = {"idempotency-key": key} if key else {}
        return self._client.post(self.url + path, json=body, headers={**more, **headers}, timeout=timeout_s)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            return self._client.get(f"{self.url}/health", timeout=1.0).status_code == 200
        except httpx.TransportError:
            return False
