"""The tutorial's scenario as one writes it without pytest-chaos: subprocess, toxiproxy-python, a bank of one's own.

    python benchmarks/by_hand.py FOLDER --toxiproxy PROGRAM [--times N]

FOLDER holds the tutorial's shop.py and pay.py. Prints {"seconds": [...], "charges": [...]}, one entry a scenario; exits
1 when an order was not charged exactly once. Toxiproxy cannot lose one answer to one request: the nearest is to hold
every answer back (`timeout` downstream), and to take the toxic away, which closes the connection, once the bank has
charged. The bank must keep pay waiting meanwhile: as soon as pay has answered, Toxiproxy closes the connection by
itself, and the shop may have used its three attempts up before the toxic is gone. So a thread, a ledger to poll and a
gate are needed; that the shop did ask again is not seen by anybody.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from toxiproxy import Toxiproxy

_READY_S = 10.0
_POLL_S = 0.005
_GATE_S = 1.5  # less than pay waits for


class Bank(ThreadingHTTPServer):
    """Says 201 to every charge and remembers its order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Charge)
        self.charged: list[str] = []
        self.gate = threading.Event()


class _Charge(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["order"]
        assert isinstance(self.server, Bank)
        self.server.charged.append(order)
        if self.server.charged.count(order) == 1:
            self.server.gate.wait(_GATE_S)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--toxiproxy", required=True, help="the server's program")
    options.add_argument("--times", type=int, default=1)
    given = options.parse_args()
    seconds, charges, honest = [], [], True
    with stack(given.folder, given.toxiproxy) as (bank, link, shop):
        for number in range(given.times):
            began = time.perf_counter()
            status, count = scenario(bank, link, shop, f"o-{number}")
            seconds.append(round(time.perf_counter() - began, 4))
            charges.append(count)
            honest = honest and status == 201 and count == 1
    print(json.dumps({"seconds": seconds, "charges": charges}))
    return 0 if honest else 1


def scenario(bank: Bank, link: Any, shop: int, order: str) -> tuple[int, int]:
    """Lose the first answer to an order's payment; give the shop's status and how often the bank charged it."""
    bank.gate.clear()
    link.add_toxic(name="lost", type="timeout", stream="downstream", attributes={"timeout": 0})
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(buy, shop, order)
        try:
            wait_until(lambda: order in bank.charged)
        finally:
            link.destroy_toxic("lost")
            bank.gate.set()
        status = asked.result()
    return status, bank.charged.count(order)


def buy(shop: int, order: str) -> int:
    body = json.dumps({"order": order, "amount": 500}).encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{shop}/orders", body, timeout=_READY_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code


@contextlib.contextmanager
def stack(folder: Path, toxiproxy: str) -> Iterator[tuple[Bank, Any, int]]:
    """Run the bank, pay, Toxiproxy and the shop; give the bank, the proxy between shop and pay, and the shop's port."""
    pay, api, shop = free_port(), free_port(), free_port()
    with Bank() as bank, contextlib.ExitStack() as processes:
        threading.Thread(target=bank.serve_forever, daemon=True).start()
        processes.callback(bank.shutdown)
        account = f"http://127.0.0.1:{bank.server_port}"
        processes.enter_context(running([sys.executable, "pay.py"], folder, PORT=str(pay), BANK_URL=account))
        processes.enter_context(running([toxiproxy, "-host", "127.0.0.1", "-port", str(api)], folder))
        wait_until(lambda: listens(api))
        server = Toxiproxy()
        server.update_api_consumer("127.0.0.1", api)
        link = server.create(upstream=f"127.0.0.1:{pay}", name="pay", listen="127.0.0.1:0")
        callee = f"http://{link.listen}"
        processes.enter_context(running([sys.executable, "shop.py"], folder, PORT=str(shop), PAY_URL=callee))
        wait_until(lambda: listens(pay) and listens(shop))
        yield bank, link, shop


@contextlib.contextmanager
def running(command: list[str], folder: Path, **env: str) -> Iterator[None]:
    with subprocess.Popen(
        command, cwd=folder, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.kill()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_S
    while not true():
        if time.monotonic() > deadline:
            msg = f"still not so after {_READY_S:g} s"
            raise TimeoutError(msg)
        time.sleep(_POLL_S)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
