"""A real wire process, a control client for it, and a callee that remembers what it was asked."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

READ_S = 10.0


def packets_can_be_seen():
    """Whether refused connections can be counted here (CAP_NET_RAW)."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0).close()
    except (OSError, AttributeError):
        return False
    return True


class Wire:
    """A wire process and the control connection to it."""

    def __init__(self, folder: Path, seed: int = 7) -> None:
        self.control, self.spool = folder / "c.sock", folder / "attempts.spool"
        command = [
            sys.executable,
            "-W",
            "error",
            "-m",
            "pytest_chaos.wire",
            "--control",
            str(self.control),
            "--spool",
            str(self.spool),
        ]
        self.stderr = folder / "wire.err"
        with self.stderr.open("wb") as err:
            self.process = subprocess.Popen([*command, "--seed", str(seed)], stderr=err)
        self._number = 0
        self.events = []
        self.client = self.connect()
        self._lines = self.client.makefile("rb")

    def connect(self):
        deadline = time.monotonic() + READ_S
        while True:
            client = socket.socket(socket.AF_UNIX)
            try:
                client.connect(str(self.control))
            except OSError:
                client.close()
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.01)
            else:
                client.settimeout(READ_S)
                return client

    def ask(self, op, **fields):
        """Ask, and give the whole answer."""
        self._number += 1
        self.client.sendall(json.dumps({"id": self._number, "op": op, **fields}).encode() + b"\n")
        while True:
            answer = json.loads(self._lines.readline())
            if "event" in answer:
                self.events.append(answer)
            else:
                assert answer["id"] == self._number
                return answer

    def do(self, op, **fields):
        """Ask for something that must work."""
        answer = self.ask(op, **fields)
        assert answer["ok"], answer
        return answer

    def event(self):
        """Wait for the next event."""
        return self.events.pop(0) if self.events else json.loads(self._lines.readline())

    def link(self, upstream=None, name="orders -> payments", **fields):
        """Open a link and give its port."""
        return self.do("open_link", name=name, listen_host="127.0.0.1", upstream=upstream, **fields)["port"]

    def rule(
        self, kind, operation="", *, link="orders -> payments", schedule="s", rule="r1", when=None, match=None, **params
    ):
        """Install one rule."""
        plain = {"id": rule, "fault": "f1", "link": link, "kind": kind, "operation": operation, "params": params}
        return self.do(
            "install", schedule=schedule, owner="t", rules=[{**plain, "when": when or {}, "headers": match or {}}]
        )

    def lift(self, schedule="s"):
        return self.do("uninstall", schedule=schedule)["hits"]

    def rows(self, kind="a"):
        """Everything of a kind on the spool."""
        offset = self.do("mark")["offset"]
        rows = [json.loads(line) for line in self.spool.read_bytes()[:offset].splitlines()]
        return [row for row in rows if row["k"] == kind]

    def attempts(self, count=1):
        """Wait until so many attempts have ended, and give them."""
        deadline = time.monotonic() + READ_S
        while len(rows := self.rows()) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(rows) == count, rows
        return rows

    def stop(self):
        with contextlib.suppress(OSError):
            self._lines.close()
            self.client.close()
        try:
            assert self.process.wait(READ_S) == 0
        finally:
            if self.process.poll() is None:
                os.kill(self.process.pid, signal.SIGKILL)
                self.process.wait()
        assert self.stderr.read_text() == ""


class Callee:
    """An HTTP/1.1 server in this process; ``asked`` is what it did."""

    def __init__(self) -> None:
        self.asked, self.connections = [], 0
        callee = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                super().setup()
                callee.connections += 1

            def log_message(self, *_):
                pass

            def answer(self):
                body = self.body()
                callee.asked.append((self.command, self.path, body))
                callee.respond(self, body)

            def body(self):
                if "chunked" in self.headers.get("transfer-encoding", ""):
                    parts = []
                    while size := int(self.rfile.readline(), 16):
                        parts.append(self.rfile.read(size))
                        self.rfile.readline()
                    self.rfile.readline()
                    return b"".join(parts)
                return self.rfile.read(int(self.headers.get("content-length", 0)))

            do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = answer  # noqa: N815 - http.server's own names

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        self.port = self.server.server_port
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def respond(self, request, body):
        path = request.path.partition("?")[0]
        if path.startswith("/status/"):
            request.send_response(int(path.rpartition("/")[2]))
            if path.endswith(("204", "304")):
                request.end_headers()
                return
            request.send_header("content-length", "0")
            request.end_headers()
        elif path == "/chunked":
            request.send_response(200)
            request.send_header("transfer-encoding", "chunked")
            request.end_headers()
            for part in (b"one", b"two", b"three"):
                request.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            request.wfile.write(b"0\r\n\r\n")
        elif path == "/until-close":
            request.send_response(200)
            request.send_header("connection", "close")
            request.end_headers()
            request.wfile.write(b"until the end")
        else:
            data = json.dumps({"path": request.path, "size": len(body)}).encode()
            request.send_response(200)
            request.send_header("content-type", "application/json")
            request.send_header("content-length", str(len(data)))
            request.end_headers()
            if request.command != "HEAD":
                request.wfile.write(data)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def wire(tmp_path):
    """A wire process of the test's own."""
    process = Wire(tmp_path)
    yield process
    process.stop()


@pytest.fixture
def callee():
    """An HTTP/1.1 callee of the test's own."""
    server = Callee()
    yield server
    server.close()


@pytest.fixture
def raw():
    """Raw client sockets: ``raw(port)`` connects; all are closed at the end."""
    with contextlib.ExitStack() as stack:

        def connect(port):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), READ_S))
            sock.settimeout(READ_S)
            return sock

        yield connect


@pytest.fixture
def tcp_callee():
    """A bare TCP callee: ``tcp_callee(handle)`` runs ``handle(sock)`` for each connection and gives its address."""
    with contextlib.ExitStack() as stack:

        def serve(handle):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def run():
                with contextlib.suppress(OSError):
                    while True:
                        sock, _ = listener.accept()
                        sock.settimeout(READ_S)
                        threading.Thread(target=one, args=(sock,), daemon=True).start()

            def one(sock):
                with contextlib.suppress(OSError), sock:
                    handle(sock)

            threading.Thread(target=run, daemon=True).start()
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            return f"127.0.0.1:{listener.getsockname()[1]}"

        yield serve


@pytest.fixture
def rst():
    """Close a socket with RST."""

    def reset(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    return reset
