"""Byte faults by a real Toxiproxy that the keeper owns: a proxy a link, a toxic a fault, every undo proved.

The keeper starts the server (:func:`server_plan`), gives the engine a way to start it anew, and asks for a port per
link. Everything here is called from the keeper's event loop; the blocking client runs in threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_chaos.injectors.toxiproxy.client import ToxiproxyClient, ToxiproxyError, Wedged, knows
from pytest_chaos.injectors.toxiproxy.door import DoorStep
from pytest_chaos.injectors.toxiproxy.engine import Restart, Toxiproxy
from pytest_chaos.injectors.toxiproxy.evidence import Traffic, hits_in
from pytest_chaos.injectors.toxiproxy.step import ToxicStep
from pytest_chaos.parts import toxiproxy as part

__all__ = [
    "DoorStep",
    "Restart",
    "ServerPlan",
    "ToxicStep",
    "Toxiproxy",
    "ToxiproxyClient",
    "ToxiproxyError",
    "Traffic",
    "Wedged",
    "container_plan",
    "hits_in",
    "knows",
    "server_plan",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlan:
    """How a server is started; ready when ``address`` accepts connections.

    Its proxies listen on ``listen``; wire finds them on ``host``. ``image`` is empty for a local process.
    """

    command: tuple[str, ...]
    port: int
    address: str
    image: str = ""
    listen: str = "127.0.0.1"
    host: str = "127.0.0.1"


def server_plan(environ: Mapping[str, str], port: int) -> ServerPlan:
    """Say how to start a server on a loopback port; raise PartMissing when there is no toxiproxy-server."""
    program = part.find(environ).require()
    command = (str(program), "-host", "127.0.0.1", "-port", str(port), "-proxy-metrics")
    return ServerPlan(command=command, port=port, address=f"127.0.0.1:{port}")


def container_plan(image: str, host: str) -> ServerPlan:
    """Say how to start a server as a container whose address is ``host``."""
    port = 8474
    command = ("-host=0.0.0.0", f"-port={port}", "-proxy-metrics")
    return ServerPlan(command=command, port=port, address=f"{host}:{port}", image=image, listen="0.0.0.0", host=host)
