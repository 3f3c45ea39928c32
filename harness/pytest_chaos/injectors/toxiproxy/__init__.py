"""Byte faults by a real Toxiproxy that the keeper owns: a proxy a link, a toxic a fault, every undo proved.

The keeper starts the server (:func:`server_plan`), gives the engine a way to start it anew, and asks for a port per
link. Everything here is called from the keeper's event loop; the blocking client runs in threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_chaos.injectors.toxiproxy.client import ToxiproxyClient, ToxiproxyError, Wedged
from pytest_chaos.injectors.toxiproxy.engine import Restart, ToxicStep, Toxiproxy
from pytest_chaos.injectors.toxiproxy.evidence import Traffic, hits_in
from pytest_chaos.parts import toxiproxy as part

__all__ = [
    "Restart",
    "ServerPlan",
    "ToxicStep",
    "Toxiproxy",
    "ToxiproxyClient",
    "ToxiproxyError",
    "Traffic",
    "Wedged",
    "hits_in",
    "server_plan",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlan:
    """How a server is started as a local process; ready when ``address`` accepts connections."""

    command: tuple[str, ...]
    port: int
    address: str


def server_plan(environ: Mapping[str, str], port: int) -> ServerPlan:
    """Say how to start a server on a loopback port; raise PartMissing when there is no toxiproxy-server."""
    program = part.find(environ).require()
    command = (str(program), "-host", "127.0.0.1", "-port", str(port), "-proxy-metrics")
    return ServerPlan(command=command, port=port, address=f"127.0.0.1:{port}")
