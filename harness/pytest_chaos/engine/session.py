"""One run's stack, as its client sees it: brought up on first need, shared by the tests, given back at the end."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pytest_chaos.engine import journal
from pytest_chaos.engine.clock import Canary, now_ns, pause
from pytest_chaos.engine.recorder import Recorder, SpanReader
from pytest_chaos.engine.settings import RunSettings
from pytest_chaos.engine.state import read_state
from pytest_chaos.errors import ChaosError
from pytest_chaos.keeper.client import KeeperClient, StackState
from pytest_chaos.model.journal import LinkInUse, PartInUse, RunRecord, UndoRecord
from pytest_chaos.model.message import Effect, Message
from pytest_chaos.model.topology import DRIVER, Broker, Service, Topology, port_names
from pytest_chaos.model.verdict import Checker

if TYPE_CHECKING:
    from pytest_chaos.brokers.base import Observer

Progress = Callable[[str], None]

_DYING_NS = 10**9
_POLL_S = 0.02


class Session:
    """A client's hold on the running stack.

    Closing it gives the lease back: the keeper then undoes and removes everything.
    """

    def __init__(self, settings: RunSettings, topology: Topology, keeper: KeeperClient, stack: StackState) -> None:
        self.settings = settings
        self.topology = topology
        self.keeper = keeper
        self.stack = stack
        self.canary = Canary()
        self.canary.start()
        self.recorder = Recorder(keeper, topology, spans=_span_reader(), completeness=_completeness())
        self._observers: dict[str, Observer] = self._observe()
        self._losses: set[str] = set()

    @property
    def journal_path(self) -> Path:
        """Where this run's journal is written."""
        return self.settings.report_dir / "journal.jsonl"

    def missing_parts(self) -> dict[str, str]:
        """Map each real part that could not be had to how to get it."""
        return dict(self.stack.missing)

    def address(self, link: str) -> str:
        """Give ``host:port`` of a link, where its caller reaches the callee."""
        return self.stack.links[link]

    def driver_links(self, node: str) -> list[str]:
        """List the driver's links to a node."""
        return [link.name for link in self.topology.links if link.caller == DRIVER and link.callee == node]

    def state_of(self, service: Service) -> list[Effect]:
        """Read one service's ledgers, off the links."""
        ports = self.stack.ports.get(service.name, {})
        return read_state(service, {name: ports[name] for name in port_names(service) if name in ports})

    def all_state(self) -> list[Effect]:
        """Read the ledgers of every service that declares a state query and runs."""
        running = self.keeper.running()
        return [
            row
            for node in self.topology.nodes
            if isinstance(node, Service) and node.state is not None and node.name in running
            for row in self._state_if_running(node)
        ]

    def _state_if_running(self, service: Service) -> list[Effect]:
        """Read a service's ledgers; one that dies just now has none to tell, and the keeper knows in a moment."""
        deadline = now_ns() + _DYING_NS
        while True:
            try:
                return self.state_of(service)
            except ChaosError as wrong:
                if not isinstance(wrong.__cause__, OSError):
                    raise
                if service.name not in self.keeper.running():
                    return []
                if now_ns() > deadline:
                    raise
                pause(_POLL_S)

    def universal(self) -> Sequence[Checker]:
        """Give the rules that hold for every system."""
        from pytest_chaos.checkers import universal  # noqa: PLC0415 - loads the checkers' room

        return universal()

    def begin_test(self) -> None:
        """Start every observer's window and the canary's."""
        self.canary.reset()
        self._tell_losses()
        for observer in self._observers.values():
            observer.begin()

    def messages(self) -> list[Message]:
        """List what the observers saw since the test began."""
        self._tell_losses()
        return [message for observer in self._observers.values() for message in observer.messages()]

    def backlog(self) -> dict[str, int]:
        """Count what waits at each broker, by channel.

        A broker that is away has an unknown backlog, which is not rest.
        """
        waiting: dict[str, int] = {}
        for name, observer in self._observers.items():
            for channel, count in observer.backlog().items():
                waiting[f"{name} {channel}"] = count
        return waiting

    def close(self) -> list[UndoRecord]:
        """Give the lease back; give how every undo went, that of the whole stack included. Safe to call twice."""
        self.canary.stop()
        for observer in self._observers.values():
            observer.close()
        self._observers = {}
        return self.keeper.finish()

    def hold(self, broker: str) -> None:
        """Have read what a broker holds: it is about to lose it, and what it had confirmed must not be forgotten."""
        if broker in self._observers:
            self._observers[broker].hold()

    def _tell_losses(self) -> None:
        """Tell the observers of brokers that have lost their data, which nothing at such a broker itself tells."""
        for event in self.keeper.node_events():
            if event.event == "wiped" and event.id not in self._losses:
                self._losses.add(event.id)
                if event.node in self._observers:
                    self._observers[event.node].lost(event.at_ns)

    def _observe(self) -> dict[str, Observer]:
        from pytest_chaos.brokers.base import observer_for  # noqa: PLC0415 - loads client libraries

        return {
            node.name: observer_for(node.kind, self.stack.direct[node.name], dict(node.options), name=node.name)
            for node in self.topology.nodes
            if isinstance(node, Broker) and node.name in self.stack.direct
        }


def open_session(settings: RunSettings, topology: Topology, progress: Progress) -> Session:
    """Bring the stack up, or join the one that a sibling worker of the same run brought up.

    Write the journal's first record.
    """
    settings.report_dir.mkdir(parents=True, exist_ok=True)
    keeper, stack, first = bring_up(settings, topology, progress)
    try:
        session = Session(settings, topology, keeper, stack)
    except BaseException:
        keeper.close()
        raise
    if first:
        journal.append(session.journal_path, _run_record(session))
    return session


def bring_up(settings: RunSettings, topology: Topology, progress: Progress) -> tuple[KeeperClient, StackState, bool]:
    """Take a lease and have the stack up; say whether this client is the run's first. Raises StackError."""
    spec = dataclasses.replace(
        topology.spec(),
        project=str(settings.project),
        runtime=_runtime(settings, topology),
        injector=settings.injector,
        seed=settings.seed,
        images=dict(settings.images),
    )
    keeper, first = KeeperClient.join(settings.run_id, keep=settings.keep, project=settings.project)
    try:
        began = now_ns()
        stack = keeper.start(spec, progress)
    except BaseException:
        keeper.close()
        raise
    progress(f"stack up in {(now_ns() - began) / 1e9:.1f} s")
    return keeper, stack, first


def _runtime(settings: RunSettings, topology: Topology) -> Literal["processes", "containers"]:
    if settings.runtime != "auto":
        return settings.runtime
    without = [node.name for node in topology.nodes if isinstance(node, Service) and not node.command]
    return "containers" if without else "processes"


def _run_record(session: Session) -> RunRecord:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - only here

    try:
        ours = version("pytest-chaos")
    except PackageNotFoundError:
        ours = ""
    settings = session.settings
    engines = session.stack.engines
    return RunRecord(
        run_id=settings.run_id,
        seed=settings.seed,
        started=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        command=settings.command,
        python=platform.python_version(),
        pytest_chaos=ours,
        runtime=session.stack.runtime,
        parts=tuple(PartInUse(**part) for part in session.stack.parts),
        links=tuple(
            LinkInUse(name=name, address=address, engine="toxiproxy" if engines.get(name) == "toxiproxy" else "wire")
            for name, address in session.stack.links.items()
        ),
    )


def _span_reader() -> SpanReader | None:
    try:
        from pytest_chaos.telemetry.decode import read_spans  # noqa: PLC0415 - needs the extra [otel]
    except ImportError:
        return None
    return read_spans


def _completeness() -> Callable[..., tuple[str, ...]] | None:
    try:
        from pytest_chaos.telemetry.completeness import missing_spans  # noqa: PLC0415 - a sibling layer's pure function
    except ImportError:
        return None
    return missing_spans


def new_run_id() -> str:
    """Name a run by its start and a few random digits: sortable, unique on a machine, fit for a path and a label."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}-{os.urandom(2).hex()}"
