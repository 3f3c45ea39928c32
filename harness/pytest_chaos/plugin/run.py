"""One pytest process's part in a run: the stack on first need, each test in and out, the reports at the end."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_chaos.engine import journal
from pytest_chaos.engine.chaos import Chaos, Renderer
from pytest_chaos.engine.session import Session, new_run_id, open_session
from pytest_chaos.errors import ChaosError, Inconclusive, KeeperError, StackError, Violation
from pytest_chaos.model.journal import CaseOutcome, CaseRecord, EndRecord, UndoRecord
from pytest_chaos.plugin import options, replaying
from pytest_chaos.plugin.case import case_record
from pytest_chaos.plugin.marker import marker_options
from pytest_chaos.plugin.needs import need, not_to_be_had
from pytest_chaos.plugin.starting import progress_of, same_topology, topology_of

if TYPE_CHECKING:
    from pytest_chaos.engine.judge import Judgement
    from pytest_chaos.engine.settings import RunSettings
    from pytest_chaos.model.fault import Schedule

_LOCK_TIMEOUT_S = 600.0


def identify(config: pytest.Config) -> tuple[str, int]:
    """Give this run's id and seed.

    The controller's for a worker, the replayed journal's, the option's, else fresh ones.
    """
    worker: Mapping[str, Any] = getattr(config, "workerinput", {})
    if "chaos_run_id" in worker:
        return str(worker["chaos_run_id"]), int(worker["chaos_seed"])
    replay = options.text(config, "chaos_replay")
    if replay:
        return new_run_id(), replaying.seed_of(Path(replay))
    given = options.text(config, "chaos_seed")
    return new_run_id(), int(given) if given else int.from_bytes(os.urandom(4), "big")


class ChaosRun:
    """Holds the session of this pytest process."""

    def __init__(self, config: pytest.Config, settings: RunSettings) -> None:
        self._config = config
        self.settings = settings
        self._session: Session | None = None
        self._broken: ChaosError | None = None
        self._stale: set[str] = set()
        self._missing: dict[str, str] = {}

    def enter(self, request: pytest.FixtureRequest) -> Chaos:
        """Bring the stack to the test's baseline and hand it over.

        Skip or fail when a part that the test needs is missing.
        """
        marker = request.node.get_closest_marker("chaos")
        wanted = marker_options(request.node.nodeid, dict(marker.kwargs) if marker else {})
        session = self._session_for(request)
        need(wanted["needs"], self._missing, self.settings.require)
        shared = wanted["isolation"] == "shared"
        alone = session.keeper.lock(
            request.node.nodeid, timeout_s=_LOCK_TIMEOUT_S, shared=shared, alone=bool(self._stale)
        )
        try:
            if alone:
                self._baseline(session, wanted)
            else:
                session.keeper.mark_logs()
            if shared and alone:
                session.keeper.share()
            session.begin_test()
            in_hand = Chaos(
                session,
                request.node.nodeid,
                session.recorder.begin(),
                allow_inconclusive=wanted["allow_inconclusive"],
                render=_renderer(session, request.node.nodeid),
                shared=shared,
                recorded=self._recorded().get(request.node.nodeid),
            )
        except BaseException:
            session.keeper.unlock()
            raise
        self._alarm(request)
        return in_hand

    def leave(self, item: pytest.Item, chaos: Chaos, reports: Mapping[str, pytest.TestReport]) -> None:
        """Write the test's record, put its nodes' settings back, and let the next test have the stack."""
        session = self._session
        if session is None:
            return
        try:
            record = case_record(session, item, chaos, reports.get("call") or reports.get("setup"))
            journal.append(session.journal_path, record)
            self._stale |= _callers_with_open_breakers(session, record)
        finally:
            chaos.close()
            with contextlib.suppress(KeeperError):  # the test itself, or the next one, says that it is gone
                session.keeper.unlock()
        for bypass in record.history.around if record.history else ():
            item.warn(pytest.PytestWarning(f"{item.nodeid}: {bypass}"))

    def close(self) -> None:
        """Give the lease back; what could not be undone goes into the journal."""
        if self._session is None:
            return
        session, self._session = self._session, None
        for undo in session.close():
            journal.append(session.journal_path, undo)

    def _session_for(self, request: pytest.FixtureRequest) -> Session:
        if self._broken is not None:
            # One clear error for the first test; the others say the same in one line instead of starting it all again.
            raise ChaosError(f"the stack did not start: {str(self._broken).splitlines()[0]}")
        if self._session is None:
            topology = topology_of(request)
            try:
                self._session = open_session(self.settings, topology, progress_of(self._config))
                self._missing = not_to_be_had(self._session, self.settings.require)
            except ChaosError as broken:
                self._broken = broken
                raise
        else:
            same_topology(topology_of(request), self._session.topology)
        return self._session

    def _baseline(self, session: Session, wanted: dict[str, Any]) -> None:
        env: dict[str, dict[str, str]] = wanted["env"]
        restart = set(self._stale)
        self._stale.clear()
        if wanted["isolation"] == "fresh":
            restart |= {node.name for node in session.topology.nodes if type(node).__name__ == "Service"}
        session.keeper.baseline(restart=sorted(restart), env=env)
        self._stale |= set(env)

    def _recorded(self) -> Mapping[str, tuple[Schedule, ...]]:
        replay = options.text(self._config, "chaos_replay")
        return replaying.schedules_of(Path(replay)) if replay else {}

    def _alarm(self, request: pytest.FixtureRequest) -> None:
        """Bound the test's time; only the main thread can be interrupted this way."""
        if threading.current_thread() is not threading.main_thread():
            return
        limit = self.settings.timeout_s

        def expired(_signal: int, _frame: FrameType | None) -> None:
            msg = f"the test took longer than --chaos-timeout={limit:g} seconds"
            raise ChaosError(msg)

        before = signal.signal(signal.SIGALRM, expired)
        signal.setitimer(signal.ITIMER_REAL, limit)

        def disarm() -> None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

        request.addfinalizer(disarm)


def _callers_with_open_breakers(session: Session, record: CaseRecord) -> set[str]:
    """List the services whose breaker this test may have moved: the next test finds them restarted."""
    guarded = {link for link, policy in session.topology.policies() if type(policy).__name__ == "CircuitBreaker"}
    attempts = record.history.attempts if record.history else ()
    return {one.caller for one in attempts if one.link in guarded and one.outcome != "ok"}


def _renderer(session: Session, nodeid: str) -> Renderer:
    def render(judgement: Judgement) -> str:
        from pytest_chaos.reporting.text import failure_message  # noqa: PLC0415 - only on a failure

        return failure_message(
            judgement.history,
            judgement.verdicts,
            missing=judgement.missing,
            logs=session.keeper.logs(),
            report=str(session.settings.report_dir / "report.html"),
            replay=f"pytest --chaos --chaos-seed={session.settings.seed} '{nodeid}'",
            jaeger_url=session.settings.jaeger_url,
        )

    return render


def shorten(report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
    """Show a verdict or a harness error as its own message: our stack frames explain nothing to the reader."""
    if call.excinfo is None or not isinstance(call.excinfo.value, (Violation, Inconclusive, ChaosError)):
        return
    error = call.excinfo.value
    file, line, _ = report.location
    lines = [entry.lineno for entry in call.excinfo.traceback if str(entry.path).endswith(file)]
    at = "" if isinstance(error, ChaosError) else f"\n\nat {file}:{(lines[-1] if lines else line or 0) + 1}"
    report.longrepr = f"{type(error).__name__}: {str(error).lstrip()}{at}"


def blame_the_harness(chaos: Chaos, failed: BaseException) -> None:
    """Raise StackError in place of a test's failure when a part of the harness died in it: no news of the system."""
    if isinstance(failed, StackError):
        return
    first = (str(failed).strip() or "nothing").splitlines()[0]
    with contextlib.suppress(KeeperError):  # a keeper that is gone has been named by the failure itself
        chaos.unbroken(f"{type(failed).__name__}: {first}")


def conclude(settings: RunSettings) -> bool:
    """Write the journal's end and every report; give True when the run is DIRTY."""
    path = settings.report_dir / "journal.jsonl"
    if not path.exists():
        return False
    records = list(journal.read(path))
    dirty = any(isinstance(record, UndoRecord) and not record.ok for record in records)
    counts: Counter[CaseOutcome] = Counter(record.outcome for record in records if isinstance(record, CaseRecord))
    ended = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    journal.append(
        path, EndRecord(ended=ended, dirty=dirty, counts={str(name): count for name, count in counts.items()})
    )
    from pytest_chaos.reporting import write_reports  # noqa: PLC0415 - only at the end

    write_reports(path, settings.report_dir, jaeger_url=settings.jaeger_url)
    _point_latest(settings.report_dir)
    return dirty


def _point_latest(report_dir: Path) -> None:
    latest = report_dir.parent / "latest"
    fresh = report_dir.parent / f".latest-{report_dir.name}"
    fresh.symlink_to(report_dir.name, target_is_directory=True)
    fresh.replace(latest)


def summary(settings: RunSettings, *, dirty: bool) -> list[str]:
    """Say where the report is."""
    report = settings.report_dir / "report.html"
    if not report.exists():
        return []
    lines = [f"chaos report: {report}"]
    if dirty:
        lines.append("chaos: DIRTY: something could not be undone, see the report")
    return lines
