"""A slim home and an initialised database for RabbitMQ, and the environment that keeps a node to itself."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts._ports import free_ports, wait_for_port
from pytest_chaos.parts._tools import move_into_place, scratch

NODE_NAME = "r@localhost"
"""The database carries its node's name; without epmd one name serves any number of brokers side by side."""

_PLUGINS = (
    *("rabbit", "rabbit_common", "rabbitmq_prelaunch", "ranch", "ra", "aten", "gen_batch_server", "sysmon_handler"),
    *(
        "stdout_formatter",
        "recon",
        "observer_cli",
        "osiris",
        "amqp10_common",
        "syslog",
        "systemd",
        "seshat",
        "cuttlefish",
    ),
    *("getopt", "credentials_obfuscation", "jsx", "enough", "base64url"),
)
_GREETING = b"AMQP\x00\x00\x09\x01"
_START_S = 60.0
_STOP_S = 30.0


def make_home(folder: Path, installed: Path) -> None:
    """Make ``folder/home`` from an installation: its scripts, and links to the plugins of a plain broker."""
    with scratch(folder) as made:
        home = made / "home"
        shutil.copytree(installed / "sbin", home / "sbin")
        # rabbitmqctl looks for its escripts beside its own folder.
        (home / "escript").symlink_to(installed / "escript")
        (home / "plugins").mkdir()
        for name in _PLUGINS:
            for found in (installed / "plugins").glob(f"{name}-[0-9v]*"):
                (home / "plugins" / found.name).symlink_to(found)
        move_into_place(home, folder / "home")


def node_environ(
    environ: Mapping[str, str], *, data: Path, mnesia: Path, amqp_port: int, dist_port: int
) -> dict[str, str]:
    """Give the environment of a node that listens on loopback only, needs no epmd, keeps to ``data`` and ``mnesia``.

    ``dist_port`` is the port of Erlang's own distribution; rabbitmqctl needs the same.
    """
    erlang = f"-sname {NODE_NAME} -start_epmd false -erl_epmd_port {dist_port}"
    erlang += f" -kernel inet_dist_listen_min {dist_port} inet_dist_listen_max {dist_port}"
    erlang += " inet_dist_use_interface {127,0,0,1}"
    return {
        **environ,
        "HOME": str(data),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": NODE_NAME,
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(amqp_port),
        "RABBITMQ_DIST_PORT": str(dist_port),
        "RABBITMQ_MNESIA_BASE": str(mnesia.parent),
        "RABBITMQ_MNESIA_DIR": str(mnesia),
        # Inside the database folder, so that a copied template brings it along.
        "RABBITMQ_FEATURE_FLAGS_FILE": str(mnesia / "feature_flags"),
        "RABBITMQ_LOG_BASE": str(data / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONF_ENV_FILE": str(data / "no-rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(data / "rabbitmq"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(data / "advanced"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "enabled_plugins"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(data / "config"),
        "RABBITMQ_SCHEMA_DIR": str(data / "schema"),
        "RABBITMQ_PID_FILE": str(data / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erlang,
    }


def make_template(folder: Path, environ: Mapping[str, str]) -> None:
    """Start a node once from ``folder/home``, stop it cleanly, keep its database as ``folder/mnesia-template``."""
    with scratch(folder) as made:
        amqp_port, dist_port = free_ports(2)
        mnesia = made / "mnesia-template"
        own = node_environ(environ, data=made, mnesia=mnesia, amqp_port=amqp_port, dist_port=dist_port)
        output = made / "output.txt"
        with output.open("wb") as sink:
            argv = [str(folder / "home" / "sbin" / "rabbitmq-server")]
            node = subprocess.Popen(argv, env=own, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            up = wait_for_port(amqp_port, timeout_s=_START_S, alive=lambda: node.poll() is None, greeting=_GREETING)
            node.terminate()
            node.wait(_STOP_S)
        finally:
            node.kill()
            node.wait()
        if not up:
            tail = "\n".join(output.read_text(errors="replace").splitlines()[-8:])
            msg = f"RabbitMQ did not start to have its database initialised; its last lines:\n{tail}"
            raise PartMissing(msg)
        move_into_place(mnesia, folder / "mnesia-template")
