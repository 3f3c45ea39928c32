"""What a run needs to start a stack: which one it is, and where its progress is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_chaos.errors import ChaosError
from pytest_chaos.model.topology import Topology


def topology_of(request: pytest.FixtureRequest) -> Topology:
    """Give what the fixture ``chaos_topology`` returns; raise ChaosError when it is none."""
    try:
        topology = request.getfixturevalue("chaos_topology")
    except pytest.FixtureLookupError:
        msg = (
            "no fixture says what the stack is: "
            "define a session fixture `chaos_topology` in conftest.py that returns a Topology"
        )
        raise ChaosError(msg) from None
    if not isinstance(topology, Topology):
        msg = f"the fixture chaos_topology gave {type(topology).__name__}; it must return a pytest_chaos.Topology"
        raise ChaosError(msg)
    return topology


def same_topology(asked: Topology, running: Topology) -> None:
    """Refuse to judge a test on a stack that another topology describes: another folder's conftest.py has its own."""
    if asked is running or (asked.spec() == running.spec() and asked.policies() == running.policies()):
        return
    msg = (
        f"this test's chaos_topology ({', '.join(node.name for node in asked.nodes)}) is not the one whose stack runs "
        f"({', '.join(node.name for node in running.nodes)}): a run has one stack, so run their folders one at a time"
    )
    raise ChaosError(msg)


def progress_of(config: pytest.Config) -> Callable[[str], None]:
    """Give what writes a line to the terminal at once, past pytest's capture; in a worker of xdist nothing is shown."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")

    def show(line: str) -> None:
        if reporter is None or capture is None:
            return
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"chaos: {line}")

    return show
