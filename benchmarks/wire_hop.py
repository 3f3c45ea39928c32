"""What wire's hop costs HTTP/1.1: p50 with one client, requests per second with many; beside direct and Toxiproxy.

Everything runs in rounds, one peer after the other in each, so that a noisy machine is noisy for all of them; a value
is the median of its rounds. Alone: ``python -m benchmarks.wire_hop``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import uvloop

from benchmarks.rows import Measured, row, table
from pytest_chaos.parts import toxiproxy

REQUEST = b"POST /payments HTTP/1.1\r\nHost: bench\r\nIdempotency-Key: k\r\nContent-Length: 20\r\n\r\n" + b"x" * 20
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n\r\n" + b"y" * 20
ROUNDS = 7
CLIENTS = 32
REQUESTS = 2000
ROOT = Path(__file__).parents[1]
_START_S = 10.0


class Server(asyncio.Protocol):
    """Answers every request at once; requests come whole, one by one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER * data.count(b"HTTP/1.1"))  # type: ignore[attr-defined]


class Client(asyncio.Protocol):
    """Asks again as soon as it is answered."""

    def __init__(self, done: list[int]) -> None:
        self._done, self._got = done, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(REQUEST)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._got += len(data)
        if self._got >= len(ANSWER):
            self._got -= len(ANSWER)
            self._done[0] += 1
            self.transport.write(REQUEST)  # type: ignore[attr-defined]


def serve(port: int) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(main())


def rate(port: int, clients: int, seconds: float) -> float:
    """Give requests per second."""

    async def main() -> float:
        loop, done = asyncio.get_running_loop(), [0]
        made = [await loop.create_connection(lambda: Client(done), "127.0.0.1", port) for _ in range(clients)]
        before, begun = done[0], time.perf_counter()
        await asyncio.sleep(seconds)
        value = (done[0] - before) / (time.perf_counter() - begun)
        for transport, _ in made:
            transport.abort()
        return value

    return uvloop.run(main())


def p50_us(port: int, count: int) -> float:
    """Give the median of one client's round trips, in microseconds."""
    times = []
    with socket.create_connection(("127.0.0.1", port), timeout=_START_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            begun, size = time.perf_counter_ns(), 0
            sock.sendall(REQUEST)
            while size < len(ANSWER):
                size += len(sock.recv(4096))
            times.append(time.perf_counter_ns() - begun)
    return statistics.median(times) / 1000


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def wait(port: int) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


@contextlib.contextmanager
def running(*command: str) -> Iterator[None]:
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def wire(upstream: int) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as folder:
        control = Path(folder) / "c"
        command = ["-m", "pytest_chaos.wire", "--control", str(control), "--spool", f"{folder}/s"]
        with running(sys.executable, *command), socket.socket(socket.AF_UNIX) as sock:
            deadline = time.monotonic() + _START_S
            while sock.connect_ex(str(control)) and time.monotonic() < deadline:
                time.sleep(0.02)
            link = {"id": 1, "op": "open_link", "name": "a -> b", "listen_host": "127.0.0.1"}
            sock.sendall(json.dumps({**link, "upstream": f"127.0.0.1:{upstream}"}).encode() + b"\n")
            yield int(json.loads(sock.recv(4096))["port"])


@contextlib.contextmanager
def through_toxiproxy(upstream: int) -> Iterator[int | None]:
    part = toxiproxy.find(os.environ)
    if part.found is None:
        yield None
        return
    api, port = free_port(), free_port()
    with running(part.found, "-host", "127.0.0.1", "-port", str(api)):
        wait(api)
        body = {"name": "b", "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{upstream}"}
        urllib.request.urlopen(f"http://127.0.0.1:{api}/proxies", json.dumps(body).encode(), timeout=_START_S).close()
        yield port


def measure(rounds: int = ROUNDS, seconds: float = 1.0) -> Measured:
    """Ask the same server through each peer in turn, ``rounds`` times, ``seconds`` each with many clients."""
    port = free_port()
    with running(sys.executable, "-m", "benchmarks.wire_hop", "--serve", str(port)):
        wait(port)
        with wire(port) as ours, through_toxiproxy(port) as toxic:
            peers = {"ours": ours, "direct": port} | ({} if toxic is None else {"toxiproxy": toxic})
            alone: dict[str, list[float]] = {name: [] for name in peers}
            many: dict[str, list[float]] = {name: [] for name in peers}
            for _ in range(rounds):
                for name, where in peers.items():
                    alone[name].append(p50_us(where, REQUESTS))
                    many[name].append(rate(where, CLIENTS, seconds))
    added = {
        name: [one - bare for one, bare in zip(values, alone["direct"], strict=True)]
        for name, values in alone.items()
        if name != "direct"
    }
    hop = "wire hop, HTTP/1.1"
    rows = (
        row(f"{hop}, one client, p50 of a request", "us", alone.pop("ours"), alone),
        row(f"{hop}, one client, added at p50", "us", added.pop("ours"), added),
        row(f"{hop}, {CLIENTS} clients", "requests/s", many.pop("ours"), many, digits=0),
    )
    return Measured(rows=rows, notes=() if toxic is not None else ("no Toxiproxy here to measure beside wire",))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--seconds", type=float, default=1.0)
    options.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        serve(given.serve)
        return
    print(table([measure(given.rounds, given.seconds)]))


if __name__ == "__main__":
    main()
