"""RabbitMQ: a node of its own (home, database, ports), loopback only, no epmd; one listener for all links."""

from __future__ import annotations

import re
import shutil
import socket
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_chaos.brokers.base import ContainerPlan, Observer, ProcessPlan, TakePort, recipes
from pytest_chaos.model.plan import NodeSpec, ReadySpec
from pytest_chaos.model.topology import Broker
from pytest_chaos.parts import rabbitmq as part

_ASK_S = 5.0
_PORT = 5672
# Schedulers that spin while idle would take a core from the services that are measured.
_CALM = "+sbwt none +sbwtdcpu none +sbwtdio none"


def RabbitMQ(  # noqa: N802 - reads as the node that it declares
    name: str, *, exchanges: Sequence[str] = (), dead_letter_queues: Sequence[str] = (), marker: str = "/id"
) -> Broker:
    """Declare a RabbitMQ. What is published to ``exchanges`` is observed, by a queue bound ``#``.

    ``dead_letter_queues`` are read at the end of a test; ``marker`` is the JSON pointer that marks a message.
    """
    return Broker(
        name,
        "rabbitmq",
        {"exchanges": tuple(exchanges), "dead_letter_queues": tuple(dead_letter_queues), "marker": marker},
    )


class RabbitRecipe:
    """How a RabbitMQ is started, addressed and read."""

    kind = "rabbitmq"
    protocol = ""

    def prepare(
        self, node: NodeSpec, home: Path, links: Mapping[str, str], environ: Mapping[str, str], take_port: TakePort
    ) -> ProcessPlan:
        """Lay out home and database (from the template where there is one); raise PartMissing without a server."""
        script = part.find(environ).require()
        warm = part.warm(environ)
        home.mkdir(parents=True, exist_ok=True)
        mnesia = home / "mnesia"
        if warm.template is not None and not mnesia.exists():
            shutil.copytree(warm.template, mnesia)
        amqp, dist = take_port(), take_port()
        env = part.node_environ({}, data=home, mnesia=mnesia, amqp_port=amqp, dist_port=dist)
        env["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] += f" {_CALM}"
        where = f"127.0.0.1:{amqp}"
        query = urllib.parse.urlencode({"dist": dist, "home": str(home)})
        return ProcessPlan(
            command=(str(warm.home / "sbin" / "rabbitmq-server" if warm.home is not None else script),),
            env=env,
            cwd=str(home),
            ready=ReadySpec(kind="tcp", port="tcp", timeout_s=node.ready.timeout_s),
            ports={"tcp": amqp, "dist": dist},
            upstreams=dict.fromkeys(links, where),
            direct=f"{self.address(where)}?{query}",
            daemons=("erl_child_setup", "inet_gethost"),
        )

    def contain(self, node: NodeSpec, *, host: str, container: str, links: Mapping[str, str]) -> ContainerPlan:
        """Give the settings of an image's own entry point; the database keeps its place in the image."""
        where = f"{host}:{_PORT}"
        query = urllib.parse.urlencode({"container": container})
        return ContainerPlan(
            command=("rabbitmq-server",),
            env={
                # The name is part of the database, so it must not hang on the container's.
                "RABBITMQ_NODENAME": part.NODE_NAME,
                "RABBITMQ_LOGS": "-",
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _CALM,
            },
            ready=ReadySpec(kind="tcp", port="tcp", timeout_s=node.ready.timeout_s),
            ports={"tcp": _PORT},
            upstreams=dict.fromkeys(links, where),
            direct=f"{self.address(where)}?{query}",
        )

    def address(self, host_port: str) -> str:
        """Give an ``amqp://`` URL of the default virtual host."""
        return f"amqp://guest:guest@{host_port}/"

    def version(self, direct: str, environ: Mapping[str, str]) -> str:
        """Read it from the server's greeting; empty when it does not say."""
        del environ
        where = urllib.parse.urlsplit(direct)
        with socket.create_connection((where.hostname or "127.0.0.1", where.port or 5672), _ASK_S) as ask:
            ask.sendall(b"AMQP\x00\x00\x09\x01")
            greeting = b""
            while not greeting.endswith(b"\xce"):
                chunk = ask.recv(4096)
                if not chunk:
                    break
                greeting += chunk
        # A field of the greeting's table: its name, S for a long string, four bytes of length, the value.
        found = re.search(rb"\x07versionS\x00\x00\x00.([0-9][0-9A-Za-z.+-]*)", greeting, re.DOTALL)
        return found[1].decode() if found else ""

    def observe(self, name: str, direct: str, options: Mapping[str, Any]) -> Observer:
        """Observe the declared exchanges and all queues; needs the extra [rabbitmq]."""
        from pytest_chaos.brokers.rabbitmq.observer import RabbitObserver  # noqa: PLC0415 - loads the client library

        return RabbitObserver(
            name,
            direct,
            exchanges=tuple(options.get("exchanges", ())),
            dead_letter_queues=tuple(options.get("dead_letter_queues", ())),
            marker=str(options.get("marker", "/id")),
        )


recipes.register("rabbitmq")(RabbitRecipe())
