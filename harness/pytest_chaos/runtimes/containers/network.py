"""The run's own network: a subnet that the engine found free, the gateway that wire listens on, an address a node."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from pytest_chaos.errors import StackError
from pytest_chaos.runtimes.containers import labels
from pytest_chaos.runtimes.containers.library import Library

_TRIES = 10
_FIRST = 16


@dataclass(slots=True, kw_only=True)
class RunNetwork:
    """Addresses of one run; a node keeps its address over restarts."""

    name: str
    subnet: str
    gateway: str
    _given: dict[str, str] = field(default_factory=dict)

    def address(self, node: str) -> str:
        """Give a node's address."""
        if node not in self._given:
            self._given[node] = str(ipaddress.ip_network(self.subnet)[_FIRST + len(self._given)])
        return self._given[node]


def make(library: Library, run_id: str) -> RunNetwork:
    """Make the network of a run; blocks. Raises StackError when the engine makes none.

    Addresses can be chosen only in a subnet that was asked for, and only the engine knows which one is free (it looks
    at this host's routes as well): so it is asked for any, and that one is asked for by name.
    """
    name = f"pytest-chaos-{run_id}"
    marks = labels.of_run(run_id)
    for left in reversed(range(_TRIES)):
        subnet, _ = library.network(f"{name}-look", marks)
        library.remove_network(f"{name}-look")
        gateway = str(ipaddress.ip_network(subnet)[1])
        try:
            library.network(name, marks, subnet=subnet, gateway=gateway)
        except StackError:
            if not left:
                raise
            continue  # another run was faster
        return RunNetwork(name=name, subnet=subnet, gateway=gateway)
    msg = "unreachable"
    raise AssertionError(msg)
