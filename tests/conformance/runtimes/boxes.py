"""Small real services in containers, and what the engine has of a run: used by the container runtime's tests."""

from __future__ import annotations

import dataclasses
import json
import os
import urllib.parse

from pytest_chaos.model.plan import StackSpec
from pytest_chaos.model.topology import Service, Topology
from pytest_chaos.parts import docker
from pytest_chaos.runtimes.containers import labels
from tests.conformance.runtimes import kit

IMAGE = "shop-orders"  # any image with Python


def missing() -> str:
    """Say why there can be no containers here; nothing when there can."""
    found = docker.find(os.environ)
    if found.found is None:
        return f"no Docker engine answers: {found.how_to_get}"
    status, _ = docker.call(os.environ, "GET", f"/images/{IMAGE}/json")
    return "" if status == 200 else f"no image {IMAGE}: make setup-containers"


# Listens where it is told; counts its starts in its data folder; says so when it is asked to end.
SERVICE = """
import pathlib, signal
mine = pathlib.Path(__import__("os").environ["DATA_DIR"], "starts")
mine.write_text(mine.read_text() + "x" if mine.exists() else "x")
def bye(*_): print("bye", flush=True); raise SystemExit
signal.signal(signal.SIGTERM, bye)
""" + kit.SERVICE.replace('("127.0.0.1", ', '(os.environ["HOST"], ').replace(
    '" from {os.getpid()}"', '" start {len(mine.read_text())}"'
).replace("from http.server", "import time; time.sleep(float(os.environ.get('LATE_S', 0)))\nfrom http.server")


def service(name: str, **fields: object) -> Service:
    env = {"DATA_DIR": "{data}", **fields.pop("env", {})}  # type: ignore[dict-item]
    return kit.service(name, source=SERVICE, env=env, **{"image": IMAGE, **fields})


def spec_of(*nodes: object, toxiproxy: tuple[str, ...] = ()) -> StackSpec:
    plain = Topology(*nodes, toxiproxy=toxiproxy).spec()  # type: ignore[arg-type]
    return dataclasses.replace(plain, project="/", runtime="containers", otlp=False)


def of_run(run: str) -> list[str]:
    """What the engine has of a run: containers and networks."""
    wanted = urllib.parse.quote(json.dumps({"label": [f"{labels.RUN}={run}"]}))
    _, containers = docker.call(os.environ, "GET", f"/containers/json?all=1&filters={wanted}")
    _, networks = docker.call(os.environ, "GET", f"/networks?filters={wanted}")
    return [*(one["Labels"][labels.NODE] for one in containers), *("a network" for _ in networks)]
