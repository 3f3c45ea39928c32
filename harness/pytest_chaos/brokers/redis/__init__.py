"""Redis: loopback only, one listener, nothing on disk unless ``Redis(..., persistent=True)``."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_chaos.brokers.base import ContainerPlan, Disturbance, Observer, ProcessPlan, Publisher, TakePort, recipes
from pytest_chaos.model.plan import NodeSpec, ReadySpec
from pytest_chaos.model.topology import Broker
from pytest_chaos.parts import redis as part

_ASK_S = 2.0
_PORT = 6379
_DATA = "/pytest-chaos"


def Redis(  # noqa: N802 - reads as the node that it declares
    name: str, *, streams: Sequence[str] = (), persistent: bool = False, marker: str = "/id"
) -> Broker:
    """Declare a Redis. ``streams`` are observed; ``persistent`` keeps data over a kill (append-only file).

    ``marker`` is the JSON pointer, or the name of a stream field, that marks a message.
    """
    return Broker(name, "redis", {"streams": tuple(streams), "persistent": persistent, "marker": marker})


class RedisRecipe:
    """How a Redis is started, addressed and read."""

    kind = "redis"
    protocol = "resp"

    def prepare(
        self, node: NodeSpec, home: Path, links: Mapping[str, str], environ: Mapping[str, str], take_port: TakePort
    ) -> ProcessPlan:
        """Give the command line; raise PartMissing when there is no redis-server."""
        program = part.find(environ).require()
        home.mkdir(parents=True, exist_ok=True)
        port = take_port()
        where = f"127.0.0.1:{port}"
        # A process title is written over the environment, and with it over the run's mark that a sweep looks for.
        options = ("--save", "", "--dir", str(home), "--daemonize", "no", "--set-proc-title", "no", *_keep(node))
        return ProcessPlan(
            command=(str(program), "--bind", "127.0.0.1", "--port", str(port), *options),
            cwd=str(home),
            ready=ReadySpec(kind="tcp", port="tcp", timeout_s=node.ready.timeout_s),
            ports={"tcp": port},
            upstreams=dict.fromkeys(links, where),
            direct=where,
            data=("appendonlydir", "appendonly.aof", "dump.rdb"),
        )

    def contain(self, node: NodeSpec, *, host: str, container: str, links: Mapping[str, str]) -> ContainerPlan:
        """Give the command line; data lies in the folder that restarts keep."""
        del container
        where = f"{host}:{_PORT}"
        options = ("--save", "", "--dir", _DATA, "--protected-mode", "no", *_keep(node))
        return ContainerPlan(
            command=("redis-server", "--bind", "0.0.0.0", "--port", str(_PORT), *options),
            ready=ReadySpec(kind="tcp", port="tcp", timeout_s=node.ready.timeout_s),
            ports={"tcp": _PORT},
            upstreams=dict.fromkeys(links, where),
            direct=where,
        )

    def address(self, host_port: str) -> str:
        """Give a ``redis://`` URL of database 0."""
        return f"redis://{host_port}/0"

    def version(self, direct: str, environ: Mapping[str, str]) -> str:
        """Ask the server (INFO); empty when it does not say."""
        del environ
        host, _, port = direct.rpartition(":")
        with socket.create_connection((host, int(port)), _ASK_S) as ask:
            ask.sendall(b"INFO server\r\n")
            answer = b""
            while b"redis_version:" not in answer or answer.count(b"\n") < 4:
                chunk = ask.recv(4096)
                if not chunk:
                    break
                answer += chunk
        found = re.search(rb"redis_version:([0-9.]+)", answer)
        return found[1].decode() if found else ""

    def observe(self, name: str, direct: str, options: Mapping[str, Any]) -> Observer:
        """Observe the declared streams; needs the extra [redis]."""
        from pytest_chaos.brokers.redis.observer import RedisObserver  # noqa: PLC0415 - loads the client library

        return RedisObserver(name, direct, tuple(options.get("streams", ())), str(options.get("marker", "/id")))

    def publisher(self, name: str, address: str) -> Publisher:
        """Publish as the driver; needs the extra [redis]."""
        from pytest_chaos.brokers.redis.publisher import RedisPublisher  # noqa: PLC0415 - loads the client library

        return RedisPublisher(name, address)

    def disturb(self, name: str, direct: str, verb: str, params: Mapping[str, Any]) -> Disturbance:
        """Have it play a fault; needs the extra [redis]."""
        from pytest_chaos.brokers.redis.disturbances import make  # noqa: PLC0415 - loads the client library

        return make(name, direct, verb, params)

    def keep(self, direct: str) -> Callable[[], None]:
        """Nothing: an observer only reads."""
        del direct
        return lambda: None


def _keep(node: NodeSpec) -> tuple[str, ...]:
    if node.options.get("persistent"):
        return ("--appendonly", "yes", "--appendfsync", "everysec")
    return ("--appendonly", "no")


recipes.register("redis")(RedisRecipe())
