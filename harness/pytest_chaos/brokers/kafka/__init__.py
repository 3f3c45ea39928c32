"""Kafka: one node in KRaft mode, one listener a link, each advertising that link's own address.

Clients use what they were told only for their first request; after that they go where the broker says it listens, and
it says the address *of the listener that the request came in on*. So every link has a listener, and its traffic stays
on the link. The controller and the administration listener are on no link.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_chaos.brokers.base import ContainerPlan, Disturbance, Observer, ProcessPlan, Publisher, TakePort, recipes
from pytest_chaos.errors import StackError
from pytest_chaos.model.plan import NodeSpec, ReadySpec
from pytest_chaos.model.topology import Broker
from pytest_chaos.parts import java
from pytest_chaos.parts import kafka as part

_FORMAT_S = 60.0
# One node, a few messages: all that makes a real cluster slow or large is turned down. The session is short, since a
# killed broker may not register again before the controller, which saw it alive, believes that it has gone (9 s).
_TRIMS = """\
num.network.threads=1
num.io.threads=2
background.threads=2
log.cleaner.enable=false
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=300
group.min.session.timeout.ms=100
auto.create.topics.enable=true
"""

_DATA = "/pytest-chaos"
# What an image must have: a shell, java and Kafka's jars in /opt/kafka/libs, as apache/kafka has. A formatted folder
# and an archive of classes are used where they are there; the archive needs the class path in a fixed order.
_START = f"""\
printf %s "$CHAOS_PROPERTIES" > {_DATA}/server.properties
jars=$(ls /opt/kafka/libs/*.jar | LC_ALL=C sort | tr '\\n' ':')
jars=${{jars%:}}
if [ ! -d {_DATA}/log ] && [ -d /opt/kafka/template ]; then cp -r /opt/kafka/template {_DATA}/log; fi
if [ ! -d {_DATA}/log ]; then
  java $CHAOS_JVM -cp "$jars" kafka.tools.StorageTool format -t "$CHAOS_CLUSTER" -c {_DATA}/server.properties || exit
fi
archive=/opt/kafka/app.jsa
if [ -f $archive ]; then CHAOS_JVM="-XX:SharedArchiveFile=$archive -Xshare:auto -Xlog:disable $CHAOS_JVM"; fi
CHAOS_JVM="-Dorg.slf4j.simpleLogger.defaultLogLevel=warn $CHAOS_JVM"
exec java $CHAOS_JVM -cp "$jars" kafka.Kafka {_DATA}/server.properties
"""


def Kafka(  # noqa: N802 - reads as the node that it declares
    name: str, *, topics: Sequence[str] = (), partitions: int = 1, marker: str = "/id"
) -> Broker:
    """Declare a Kafka. ``topics`` are observed (none: every topic that is not internal).

    A topic is created on first use with ``partitions`` partitions; ``marker`` is the JSON pointer that marks a message.
    """
    return Broker(name, "kafka", {"topics": tuple(topics), "partitions": partitions, "marker": marker})


class KafkaRecipe:
    """How a Kafka is started, addressed and read."""

    kind = "kafka"
    protocol = "kafka"

    def prepare(
        self, node: NodeSpec, home: Path, links: Mapping[str, str], environ: Mapping[str, str], take_port: TakePort
    ) -> ProcessPlan:
        """Write the configuration and lay out the log folder; raise PartMissing without jars or Java."""
        libs = part.find(environ).require()
        program = str(java.find(environ).require())
        warm = part.warm(environ)
        home.mkdir(parents=True, exist_ok=True)
        ports = {
            "tcp": take_port(),
            "controller": take_port(),
            **{f"l{number}": take_port() for number in range(len(links))},
        }
        upstreams = {link: f"127.0.0.1:{ports[f'l{number}']}" for number, link in enumerate(links)}
        config = home / "server.properties"
        config.write_text(_config(home / "log", ports, list(links.values()), int(node.options.get("partitions", 1))))
        jvm = [program, *part.JVM_OPTIONS, "-cp", part.class_path(libs)]
        if not (home / "log").exists():
            _lay_out(home / "log", warm, [*jvm, "kafka.tools.StorageTool"], config)
        fast = (
            (f"-XX:SharedArchiveFile={warm.archive}", "-Xshare:auto", "-Xlog:disable")
            if warm.archive is not None
            else ()
        )
        return ProcessPlan(
            command=(
                jvm[0],
                *fast,
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                *jvm[1:],
                "kafka.Kafka",
                str(config),
            ),
            cwd=str(home),
            ready=ReadySpec(kind="tcp", port="tcp", timeout_s=node.ready.timeout_s),
            ports=ports,
            upstreams=upstreams,
            direct=f"127.0.0.1:{ports['tcp']}",
            data=("log",),
        )

    def contain(self, node: NodeSpec, *, host: str, container: str, links: Mapping[str, str]) -> ContainerPlan:
        """Give a start from the image's jars with this configuration; its log folder is formatted by the first one."""
        del container
        ports = {"tcp": 9092, "controller": 9093, **{f"l{number}": 19_100 + number for number in range(len(links))}}
        config = _config(
            Path(_DATA, "log"), ports, list(links.values()), int(node.options.get("partitions", 1)), host=host
        )
        return ContainerPlan(
            command=("sh", "-c", _START),
            env={"CHAOS_PROPERTIES": config, "CHAOS_JVM": " ".join(part.JVM_OPTIONS), "CHAOS_CLUSTER": _cluster_id()},
            ready=ReadySpec(kind="tcp", port="tcp", timeout_s=node.ready.timeout_s),
            ports=ports,
            upstreams={link: f"{host}:{ports[f'l{number}']}" for number, link in enumerate(links)},
            direct=f"{host}:{ports['tcp']}",
            version=("sh", "-c", "ls /opt/kafka/libs/kafka-clients-*.jar"),
        )

    def address(self, host_port: str) -> str:
        """Give the bootstrap server of a link."""
        return host_port

    def version(self, direct: str, environ: Mapping[str, str]) -> str:
        """Give the version that the jars in use declare: the protocol has no question for it."""
        del direct
        return part.find(environ).version or ""

    def observe(self, name: str, direct: str, options: Mapping[str, Any]) -> Observer:
        """Observe the declared topics and every group's progress; needs the extra [kafka]."""
        from pytest_chaos.brokers.kafka.observer import KafkaObserver  # noqa: PLC0415 - loads the client library

        return KafkaObserver(name, direct, tuple(options.get("topics", ())), str(options.get("marker", "/id")))

    def publisher(self, name: str, address: str) -> Publisher:
        """Publish as the driver; needs the extra [kafka]."""
        from pytest_chaos.brokers.kafka.publisher import KafkaPublisher  # noqa: PLC0415 - loads the client library

        return KafkaPublisher(name, address)

    def disturb(self, name: str, direct: str, verb: str, params: Mapping[str, Any]) -> Disturbance:
        """Have it play a fault; needs the extra [kafka]."""
        from pytest_chaos.brokers.kafka.disturbances import make  # noqa: PLC0415 - loads the client library

        return make(name, direct, verb, params)

    def keep(self, direct: str) -> Callable[[], None]:
        """Nothing: an observer only reads, in no group."""
        del direct
        return lambda: None


def _config(
    log: Path, ports: Mapping[str, int], advertised: Sequence[str], partitions: int, *, host: str = "127.0.0.1"
) -> str:
    names = [f"L{number}" for number in range(len(advertised))]
    listening = [f"{name}://{host}:{ports[name.lower()]}" for name in names]
    told = [f"{name}://{address}" for name, address in zip(names, advertised, strict=True)]
    admin = f"ADMIN://{host}:{ports['tcp']}"
    controller = f"127.0.0.1:{ports['controller']}"
    plain = ",".join(f"{name}:PLAINTEXT" for name in ("ADMIN", "CTRL", *names))
    return (
        "process.roles=broker,controller\nnode.id=1\n"
        f"controller.quorum.voters=1@{controller}\ncontroller.listener.names=CTRL\ninter.broker.listener.name=ADMIN\n"
        f"listeners={','.join([admin, f'CTRL://{controller}', *listening])}\n"
        f"advertised.listeners={','.join([admin, *told])}\n"
        f"listener.security.protocol.map={plain}\n"
        f"log.dirs={log}\nnum.partitions={partitions}\n{_TRIMS}"
    )


def _lay_out(log: Path, warm: part.Warm, tool: Sequence[str], config: Path) -> None:
    """Copy the formatted template, else let Kafka's own tool format the folder (about 2 s)."""
    if warm.template is not None:
        shutil.copytree(warm.template, log)
        return
    done = subprocess.run(
        [*tool, "format", "-t", _cluster_id(), "-c", str(config)],
        capture_output=True,
        text=True,
        timeout=_FORMAT_S,
        check=False,
    )
    if done.returncode:
        msg = f"Kafka's log folder {log} could not be formatted: {(done.stderr or done.stdout).strip()[-400:]}"
        raise StackError(msg)


def _cluster_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


recipes.register("kafka")(KafkaRecipe())
