"""RabbitMQ: a node of its own (home, database, ports), loopback only, no epmd; one listener for all links."""

from __future__ import annotations

import re
import shutil
import socket
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_chaos.brokers.base import ContainerPlan, Disturbance, Observer, ProcessPlan, Publisher, TakePort, recipes
from pytest_chaos.model.plan import NodeSpec, ReadySpec
from pytest_chaos.model.topology import Broker
from pytest_chaos.parts import rabbitmq as part

_ASK_S = 5.0
_PORT = 5672
# Schedulers that spin while idle would take a core from the services that are measured.
_CALM = "+sbwt none +sbwtdcpu none +sbwtdio none"
# From the first publish on, a copy of every message goes to an exchange of the broker's own, where the observer binds
# (https://www.rabbitmq.com/docs/firehose). A queue bound to the system's own exchanges would make unroutable messages
# routable, and a careful publisher careless.
_TRACE = '-rabbit trace_vhosts [<<"/">>]'
_ARGUMENTS = f"{_CALM} {_TRACE}"


def RabbitMQ(  # noqa: N802 - reads as the node that it declares
    name: str, *, exchanges: Sequence[str] = (), dead_letter_queues: Sequence[str] = (), marker: str = "/id"
) -> Broker:
    """Declare a RabbitMQ. ``exchanges`` are observed (none: all), in the copies that the broker itself makes.

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
    protocol = "amqp"

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
        env["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] += f" {_ARGUMENTS}"
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
            data=("mnesia",),
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
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ARGUMENTS,
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

    def publisher(self, name: str, address: str) -> Publisher:
        """Publish as the driver; needs the extra [rabbitmq]."""
        from pytest_chaos.brokers.rabbitmq.publisher import RabbitPublisher  # noqa: PLC0415 - loads the client library

        return RabbitPublisher(name, address)

    def disturb(self, name: str, direct: str, verb: str, params: Mapping[str, Any]) -> Disturbance:
        """Have it play a fault; needs the extra [rabbitmq]."""
        from pytest_chaos.brokers.rabbitmq.disturbances import make  # noqa: PLC0415 - loads the client library

        return make(name, direct, verb, params)

    def keep(self, direct: str) -> Callable[[], None]:
        """Note the observers' queues, which are bound to the firehose; the result declares them anew."""
        from pytest_chaos.brokers.rabbitmq.erlang import Erlang  # noqa: PLC0415 - only for this
        from pytest_chaos.brokers.rabbitmq.queues import keep  # noqa: PLC0415

        return keep(Erlang.of(direct))


recipes.register("rabbitmq")(RabbitRecipe())
