"""A formatted log folder and a class-data archive, made once, so that a Kafka broker starts in about a second."""

from __future__ import annotations

import base64
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts._ports import free_ports, wait_for_port
from pytest_chaos.parts._tools import move_into_place, run, scratch

JVM_OPTIONS = ("-Xmx256m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""The archive is only used by a JVM with the same collector; brokers start with these."""

_FORMAT_S = 60.0
_START_S = 60.0
_STOP_S = 60.0


def class_path(libs: Path) -> str:
    """Give the class path in a fixed order: the archive is refused when the order differs."""
    return ":".join(str(jar) for jar in sorted(libs.glob("*.jar")))


def make_template(home: Path, java: str, environ: Mapping[str, str]) -> None:
    """Format ``home/template`` and write ``home/cluster-id``."""
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    with scratch(home) as folder:
        config = _write_config(folder, folder / "template")
        argv = [java, *JVM_OPTIONS, "-cp", class_path(home / "libs"), "kafka.tools.StorageTool"]
        argv += ["format", "-t", cluster_id, "-c", str(config)]
        run(argv, environ=environ, timeout_s=_FORMAT_S)
        (folder / "cluster-id").write_text(cluster_id + "\n")
        move_into_place(folder / "template", home / "template")
        move_into_place(folder / "cluster-id", home / "cluster-id")


def make_archive(home: Path, java: str, environ: Mapping[str, str]) -> None:
    """Start a broker once, let the JVM write its loaded classes as ``home/app.jsa`` when it is asked to end."""
    with scratch(home) as folder:
        run_dir = folder / "logs"
        config = _write_config(folder, run_dir)
        cluster_id = (home / "cluster-id").read_text().strip()
        jvm = [java, *JVM_OPTIONS, "-cp", class_path(home / "libs")]
        tool = [*jvm, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(config)]
        run(tool, environ=environ, timeout_s=_FORMAT_S)
        port = _port_of(config)
        output = folder / "output.txt"
        with output.open("wb") as sink:
            archive = f"-XX:ArchiveClassesAtExit={folder / 'app.jsa'}"
            argv = [jvm[0], archive, *jvm[1:], "kafka.Kafka", str(config)]
            broker = subprocess.Popen(argv, env=dict(environ), stdout=sink, stderr=subprocess.STDOUT)
        try:
            up = wait_for_port(port, timeout_s=_START_S, alive=lambda: broker.poll() is None)
            broker.terminate()
            broker.wait(_STOP_S)
        finally:
            broker.kill()
            broker.wait()
        if not up or not (folder / "app.jsa").is_file():
            tail = "\n".join(output.read_text(errors="replace").splitlines()[-8:])
            msg = f"Kafka did not start to have its classes recorded; its last lines:\n{tail}"
            raise PartMissing(msg)
        move_into_place(folder / "app.jsa", home / "app.jsa")


def _write_config(folder: Path, log_dir: Path) -> Path:
    broker, controller = free_ports(2)
    config = folder / "server.properties"
    config.write_text(
        "process.roles=broker,controller\n"
        "node.id=1\n"
        f"controller.quorum.voters=1@127.0.0.1:{controller}\n"
        f"listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}\n"
        "controller.listener.names=CONTROLLER\n"
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
        "offsets.topic.replication.factor=1\n"
        f"log.dirs={log_dir}\n"
    )
    return config


def _port_of(config: Path) -> int:
    line = next(line for line in config.read_text().splitlines() if line.startswith("listeners="))
    return int(line.split(",")[0].rsplit(":", 1)[1])
