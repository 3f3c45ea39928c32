"""Small real services, and what is left of a run: used by the keeper's tests."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_chaos.keeper import home
from pytest_chaos.keeper.client import KeeperClient, StackState
from pytest_chaos.model.fault import Installed, NodeAction, Schedule, WireRule
from pytest_chaos.model.plan import StackSpec, StubOperation
from pytest_chaos.model.topology import Http, Service, Stub, Topology
from pytest_chaos.runtimes import procfs
from pytest_chaos.runtimes.base import RUN_MARK

# Answers its environment's GREETING; /ask passes the question on to UP; /die exits; /pay asks BANK.
SERVICE = """
import os, sys, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
def ask(url, body): return urllib.request.urlopen(url, body, timeout=30).read().decode()
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/die": os._exit(9)
        try:
            if self.path == "/ask": text = "via " + ask(os.environ["UP"] + "/", None)
            elif self.path == "/pay": text = "paid " + ask(os.environ["BANK"] + "/pay", b"{}")
            else: text = os.environ.get("GREETING", "hello") + f" from {os.getpid()}"
        except OSError as error: text = f"error {error}"
        self.send_response(200); self.send_header("Content-Length", str(len(text))); self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, form, *args): print(form % args, flush=True)
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
# A leader whose only child has run off into a session of its own, as brokers' daemons do.
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    time.sleep(600)
"""
_numbers = itertools.count(1)


def run_id() -> str:
    return f"test-{os.getpid()}-{next(_numbers)}"


def service(name: str, *, source: str = SERVICE, **fields: object) -> Service:
    fields.setdefault("ready", Http("/"))
    fields.setdefault("ports", {"http": "PORT"})
    return Service(name, command=("python", "-c", source), **fields)  # type: ignore[arg-type]


def spec_of(*nodes: object, project: Path | str = "/") -> StackSpec:
    return dataclasses.replace(Topology(*nodes).spec(), project=str(project), otlp=False)  # type: ignore[arg-type]


def chain(**fields: object) -> StackSpec:
    """front -> back -> bank, a stub."""
    return spec_of(
        service("front", calls={"UP": "http://{back.http}"}),
        service("back", calls={"BANK": "http://{bank}"}, **fields),
        Stub("bank", {"POST /pay": StubOperation(body={"receipt": "{seq}"})}),
    )


@contextlib.contextmanager
def keeper(spec: StackSpec | None = None, **options: object) -> Iterator[tuple[KeeperClient, StackState]]:
    client = KeeperClient.spawn(run_id(), **options)  # type: ignore[arg-type]
    try:
        yield client, client.start(spec) if spec is not None else StackState()
    finally:
        client.close()


def get(address: str, path: str = "/", *, timeout_s: float = 10.0) -> str:
    """Give the answer's text, or the name of what went wrong."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}{path}", timeout=timeout_s) as answer:
            return answer.read().decode()
    except urllib.error.URLError as wrong:
        return type(wrong.reason).__name__
    except OSError as wrong:
        return type(wrong).__name__


def rule(kind: str, link: str, *, fault: str = "f1", **params: object) -> Installed:
    return Installed(
        id=fault,
        kind=kind,
        target=link,
        rules=(WireRule(id=f"{fault}.1", fault=fault, link=link, kind=kind, params=params),),
    )


def action(verb: str, node: str, *, fault: str = "f1", **fields: object) -> Installed:
    act = NodeAction(id=f"{fault}.1", fault=fault, node=node, verb=verb, **fields)  # type: ignore[arg-type]
    return Installed(id=fault, kind=verb, target=node, nodes=(act,))


def schedule(*faults: Installed, name: str = "s1", owner: str = "t") -> Schedule:
    return Schedule(id=name, owner=owner, faults=faults)


def until(condition: Callable[[], object], *, timeout_s: float = 10.0, what: str = "it") -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout_s:g} s"
        time.sleep(0.02)


def marked(run: str) -> list[int]:
    """Every process that carries a run's id."""
    mark = f"{RUN_MARK}={run}".encode()
    return [one.pid for one in procfs.scan() if procfs.carries(one.pid, (mark,))]


def left_of(run: str, keeper_pid: int | None = None) -> list[str]:
    """Everything that is still there of a run: processes, its keeper, its folder."""
    found = [f"process {pid}" for pid in marked(run)]
    if (home.root() / run).exists():
        found.append("its folder")
    keeper = procfs.look(keeper_pid) if keeper_pid is not None else None
    if keeper is not None and not keeper.zombie:  # a zombie is init's to reap
        found.append("its keeper")
    return found


def keeper_pid(client: KeeperClient) -> int:
    record = home.read_record(client.home)
    assert record is not None
    return record.pid


def listening(addresses: list[str]) -> list[str]:
    """Which of these addresses still accept a connection."""
    import socket

    found = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            found.append(address)
    return found
