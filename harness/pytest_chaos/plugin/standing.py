"""``--chaos-up``: the stack in the foreground, with no test, for whoever wants to try it by hand until Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from pytest_chaos.engine.clock import pause
from pytest_chaos.engine.session import bring_up
from pytest_chaos.errors import UndoError
from pytest_chaos.plugin.starting import progress_of, topology_of

if TYPE_CHECKING:
    from pytest_chaos.engine.settings import RunSettings
    from pytest_chaos.keeper.client import KeeperClient, StackState
    from pytest_chaos.model.topology import Topology

_NAME = "the stack in the foreground"
_LOOK_S = 0.5
_TOLD = ("killed", "stopped", "exited", "ready")


class Standing:
    """A plugin that puts one item in place of all tests: it holds the stack up, and can only end or be broken off."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Collect nothing else: the tests' modules are not even imported."""
        parent: pytest.Session | pytest.Dir = session
        for folder in _down_to(session.config):
            parent = pytest.Dir.from_parent(parent, path=folder)
            # Its fixtures are read when it is collected; the modules in it are not imported by that.
            parent.ihook.pytest_make_collect_report(collector=parent)
        item = pytest.Function.from_parent(parent, name=_NAME, callobj=self._stand)
        if session.config.pluginmanager.hasplugin("timeout"):  # pytest-timeout: nobody waits for this one's end
            item.add_marker(pytest.mark.timeout(0))
        session.items = [item]
        session.testscollected = 1
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Print no letter for what is no test."""
        return ("", "", "") if report.passed else None

    def _stand(self, request: pytest.FixtureRequest) -> None:
        topology = topology_of(request)
        capture = request.config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            keeper, stack, _ = bring_up(self._settings, topology, progress_of(request.config))
            # SIGINT too: where a script started this in its background, it is ignored until then.
            before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                _say("")
                for line in _described(topology, stack):
                    _say(line)
                _say("\nCtrl-C takes it down.")
                _watch(keeper)
            except KeyboardInterrupt:
                _say("\ntaking it down")
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
                undone = keeper.finish()
        if left := [f"{one.action}: {one.error}" for one in undone if not one.ok]:
            msg = f"DIRTY: {'; '.join(left)}"
            raise UndoError(msg)


def _described(topology: Topology, stack: StackState) -> Iterator[str]:
    """Say where everything is: what is meant to be used first."""
    width = max([len(name) for name in stack.links] + [len(node.name) for node in topology.nodes])
    yield "links, each through its proxy:"
    for name, address in sorted(stack.links.items(), key=lambda link: not link[0].startswith("test ->")):
        yield f"  {name:<{width}}  {address}"
    yield "nodes, at their own ports, where no fault acts and nothing is recorded:"
    for node in topology.nodes:
        if node.name in stack.missing:
            yield f"  {node.name:<{width}}  not here: {stack.missing[node.name]}"
        direct = stack.direct.get(node.name)
        own = stack.ports.get(node.name, {}) if direct is None else {"tcp": direct}
        for port, address in own.items():
            yield f"  {node.name:<{width}}  {port} {address}"
    for folder in {str(Path(path).parent) for path in stack.logs.values()}:
        yield f"logs, one a node: {folder}"


def _watch(keeper: KeeperClient) -> None:
    """Tell what happens to nodes, for ever. Raises KeeperError when the keeper is gone."""
    known = {event.id for event in keeper.node_events()}
    while True:
        for event in keeper.node_events():
            if event.id not in known and event.event in _TOLD:
                _say(f"{time.strftime('%H:%M:%S')} {event.node}: {event.event} {event.detail}".rstrip())
            known.add(event.id)
        pause(_LOOK_S)


def _down_to(config: pytest.Config) -> list[Path]:
    """List the folders from the root to the one that was asked for."""
    asked = config.invocation_params.dir / (config.args[0].partition("::")[0] if config.args else "")
    if not asked.exists():
        msg = f"{asked}: no such folder; give the one whose conftest.py has chaos_topology"
        raise pytest.UsageError(msg)
    folder = asked if asked.is_dir() else asked.parent
    if not folder.is_relative_to(config.rootpath):
        return []
    return [one for one in (folder, *folder.parents) if one.is_relative_to(config.rootpath)][::-1]


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is what the option is for
