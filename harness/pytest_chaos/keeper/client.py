"""What pytest, its workers and the command line hold: a lease on a run's keeper, and what can be asked of it.

Every method raises the keeper's own ChaosError, or KeeperError when it is silent or gone. Standard library only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pytest_chaos.errors import KeeperError, UndoError
from pytest_chaos.keeper import joining
from pytest_chaos.keeper.aftermath import aftermath
from pytest_chaos.keeper.channel import Channel
from pytest_chaos.keeper.home import RunHome
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.codec import from_json, to_json
from pytest_chaos.model.fault import Schedule
from pytest_chaos.model.history import Bypass, FaultRecord, NodeEvent
from pytest_chaos.model.journal import UndoRecord
from pytest_chaos.model.plan import StackSpec

Progress = Callable[[str], object]
_QUICK_S = 60.0
_START_S = 600.0
_END_S = 60.0
_MOST_LOG_BYTES = 32_768


def _silent(line: str) -> None:
    """Show nothing of a line of progress."""
    del line


@dataclass(frozen=True, slots=True, kw_only=True)
class StackState:
    """A running stack, as its clients see it.

    ``links`` maps links to ``host:port``; ``ports`` nodes to their real addresses by port name, off the links;
    ``direct`` brokers to where the harness itself reaches them; ``missing`` real parts that cannot be had to how to get
    them; ``logs`` nodes to files.
    """

    run_id: str = ""
    runtime: str = ""
    links: dict[str, str] = field(default_factory=dict)
    engines: dict[str, str] = field(default_factory=dict)
    ports: dict[str, dict[str, str]] = field(default_factory=dict)
    direct: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    parts: tuple[dict[str, Any], ...] = ()
    dirty: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A place in the evidence: bytes behind everything so far in each spool, and the requests that are open."""

    offset: int
    spans_offset: int = 0
    open: list[Attempt] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """What closing a lease led to: whether it was the last one, what could not be undone or removed."""

    last: bool = False
    dirty: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class KeeperClient:
    """A lease. Closing it, or dying, gives it back: its faults are lifted; with the last lease the stack is removed."""

    def __init__(self, home: RunHome, channel: Channel, *, run_id: str = "") -> None:
        self.home = home
        self.run_id = run_id or home.run_id
        self._channel = channel
        self._closed = False
        self._logs: dict[str, Path] = {}
        self._log_marks: dict[str, int] = {}

    @classmethod
    def spawn(cls, run_id: str, *, keep: bool = False, project: Path | None = None) -> Self:
        """Start a keeper for a new run and take its first lease."""
        home, connected = joining.spawn(run_id, keep=keep, project=project)
        return cls(home, connected)

    @classmethod
    def connect(cls, path: Path, *, run_id: str = "") -> Self:
        """Take a lease of a running keeper by its socket's path."""
        home = RunHome(run_id=path.parent.name, folder=path.parent)
        connected = joining.connect(home, run_id or home.run_id)
        if connected is None:
            msg = f"no keeper that takes this client answers at {path}"
            raise KeeperError(msg)
        return cls(home, connected, run_id=run_id)

    @classmethod
    def join(cls, run_id: str, *, keep: bool = False, project: Path | None = None) -> tuple[Self, bool]:
        """Take a lease of this run's keeper, the project's kept one, or a new one; say whether it is the first."""
        home, connected, first = joining.join(run_id, keep=keep, project=project)
        return cls(home, connected, run_id=run_id), first

    @property
    def attempts_spool(self) -> Path:
        """What wire appends attempts, effects and hits to."""
        return self.home.attempts_spool

    @property
    def spans_spool(self) -> Path:
        """What the OTLP receiver appends to."""
        return self.home.spans_spool

    # -- the stack --------------------------------------------------------------------------------------------------

    def start(self, spec: StackSpec, progress: Progress = _silent) -> StackState:
        """Bring the stack up, or find it up; ``progress`` gets a line a step. Raises StackError with last log lines."""
        answer = self._channel.ask(
            "start",
            timeout_s=_START_S,
            on_event=lambda event: progress(str(event["text"])) if event["event"] == "progress" else None,
            spec=to_json(spec),
            environ=dict(os.environ),
        )
        return self._state(answer)

    def state(self) -> StackState:
        """Describe the running stack."""
        return self._state(self._channel.ask("state", timeout_s=_QUICK_S))

    def running(self) -> set[str]:
        """Name the nodes that are ready now; stubs are not among them."""
        return set(self._channel.ask("running", timeout_s=_QUICK_S)["nodes"])

    def node(self, name: str, verb: str, env: Mapping[str, str] | None = None) -> str:
        """Do kill, stop, pause, resume, start or restart; return when it is true, with what was seen.

        ``env`` replaces the node's overrides; only a restart takes one.
        """
        told = None if env is None else dict(env)
        return str(self._channel.ask("node", timeout_s=_START_S, node=name, verb=verb, env=told)["seen"])

    def baseline(self, *, restart: Iterable[str] = (), env: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """Have every node running: those of ``restart`` fresh, each with just ``env``'s overrides; mark the logs."""
        overrides = {node: dict(values) for node, values in (env or {}).items()}
        self._channel.ask("baseline", timeout_s=_START_S, restart=list(restart), env=overrides)
        self.mark_logs()

    def node_events(self) -> list[NodeEvent]:
        """List what happened to nodes since the stack began to start."""
        return [from_json(NodeEvent, one) for one in self._channel.ask("node_events", timeout_s=_QUICK_S)["events"]]

    # -- evidence ---------------------------------------------------------------------------------------------------

    def mark(self) -> Mark:
        """Give the place behind everything recorded so far."""
        answer = self._channel.ask("mark", timeout_s=_QUICK_S)
        return Mark(
            offset=int(answer["offset"]),
            spans_offset=int(answer["spans_offset"]),
            open=[from_json(Attempt, one) for one in answer["open"]],
        )

    def around(self, since_ns: int) -> list[Bypass]:
        """Give who was seen connected to a node's own port since a moment, not through its link, or was told to be."""
        rows = self._channel.ask("around", timeout_s=_QUICK_S, since_ns=since_ns)["around"]
        return [from_json(Bypass, row) for row in rows]

    def mark_logs(self) -> None:
        """Let :meth:`logs` begin here."""
        self._log_marks = {node: path.stat().st_size for node, path in self._logs.items() if path.exists()}

    def logs(self) -> dict[str, str]:
        """Give what each node wrote since the logs were marked (the last 32 KiB of it)."""
        found = {node: _read_from(path, self._log_marks.get(node, 0)) for node, path in self._logs.items()}
        return {node: text for node, text in found.items() if text}

    # -- faults -----------------------------------------------------------------------------------------------------

    def install(self, schedule: Schedule) -> None:
        """Carry a schedule's faults out, all or none; raise FaultError about the one that cannot be."""
        self._channel.ask("install", timeout_s=_START_S, schedule=to_json(schedule))

    def uninstall(self, schedule_id: str) -> list[FaultRecord]:
        """Lift a schedule and give its faults' records; raise UndoError when something could not be taken back."""
        answer = self._channel.ask("uninstall", timeout_s=_START_S, schedule=schedule_id)
        undone = [from_json(UndoRecord, one) for one in answer["undos"]]
        failed = [f"{undo.action}: {undo.error}" for undo in undone if not undo.ok]
        if failed:
            msg = f"DIRTY: could not be undone: {'; '.join(failed)}"
            raise UndoError(msg)
        return [from_json(FaultRecord, one) for one in answer["faults"]]

    def open_door(self, owner: str) -> tuple[str, str]:
        """Have Toxiproxy reset by the undo of a schedule; give the schedule's id and the server's ``host:port``.

        Raises FaultError when the stack has none.
        """
        answer = self._channel.ask("door", timeout_s=_QUICK_S, owner=owner)
        return str(answer["schedule"]), str(answer["address"])

    def faults(self, owner: str) -> list[FaultRecord]:
        """Give the records of an owner's faults, lifted ones too, with their hits up to now."""
        return [
            from_json(FaultRecord, one)
            for one in self._channel.ask("faults", timeout_s=_QUICK_S, owner=owner)["faults"]
        ]

    def undos(self) -> list[UndoRecord]:
        """Give how every undo of this client's faults went."""
        return [from_json(UndoRecord, one) for one in self._channel.ask("undos", timeout_s=_QUICK_S)["undos"]]

    # -- turns ------------------------------------------------------------------------------------------------------

    def lock(self, owner: str, *, timeout_s: float, shared: bool = False, alone: bool = False) -> bool:
        """Have the stack, in order of asking; say whether alone. Raises KeeperError after ``timeout_s`` seconds.

        Not ``shared``: always alone. ``shared``: with the others that share it, but alone until :meth:`share` where
        the stack has to be brought to its baseline first (``alone`` asks for that).
        """
        mode = "shared" if shared else "exclusive"
        return bool(
            self._channel.ask(
                "lock", timeout_s=timeout_s + _QUICK_S, owner=owner, limit_s=timeout_s, mode=mode, alone=alone
            )["alone"]
        )

    def share(self) -> None:
        """Let others in that share the stack, which is at its baseline now."""
        self._channel.ask("share", timeout_s=_QUICK_S)

    def unlock(self) -> None:
        """Let the next one have the stack."""
        self._channel.ask("unlock", timeout_s=_QUICK_S)

    def finish(self) -> list[UndoRecord]:
        """Close; give how every undo of this client's went, and what of the stack could not be removed."""
        if self._closed:
            return []
        try:
            undos = self.undos()
        except KeeperError as gone:
            self._closed = True
            self._channel.close()
            joining.leave(self.run_id, self.home)
            return [aftermath(self.home, str(gone))]
        bye = self.close()
        if bye.left:
            msg = f"still there: {', '.join(bye.left)}"
            now = time.monotonic_ns()
            undos.append(UndoRecord(fault="", action="remove the stack", at_ns=now, ok=False, error=msg))
        return undos

    def close(self) -> Farewell:
        """Give the lease back, and wait until what goes with it is gone; safe to call twice."""
        if self._closed:
            return Farewell()
        self._closed = True
        try:
            answer = self._channel.ask("bye", timeout_s=_END_S)
            if answer["last"]:
                self._channel.wait_end(_END_S)
            return Farewell(last=bool(answer["last"]), dirty=tuple(answer["dirty"]), left=tuple(answer["left"]))
        except KeeperError:
            return Farewell()  # it is gone already, and its sweep or the next one has the rest
        finally:
            self._channel.close()
            joining.leave(self.run_id, self.home)

    def __enter__(self) -> Self:
        """Hold the lease for a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        self.close()

    def _state(self, answer: Mapping[str, Any]) -> StackState:
        state = from_json(StackState, answer["state"])
        self._logs = {node: Path(path) for node, path in state.logs.items()}
        return state


def _read_from(path: Path, start: int) -> str:
    try:
        with path.open("rb") as log:
            log.seek(max(start, path.stat().st_size - _MOST_LOG_BYTES))
            return log.read().decode(errors="replace")
    except OSError:
        return ""
