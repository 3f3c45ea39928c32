"""What a client does when the keeper itself is gone or silent: end it for good, and sweep up after it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from pytest_chaos.keeper import home as homes
from pytest_chaos.keeper.home import RunHome
from pytest_chaos.keeper.sweep import sweep_now
from pytest_chaos.model.journal import UndoRecord

_ENDING_S = 2.0
_KILLED_S = 5.0
_LOOK_S = 0.02


def aftermath(home: RunHome, why: str) -> UndoRecord:
    """Remove what a dead run left behind, and say how that went; a keeper that lives but is silent is killed first.

    For the main thread, which must have no event loop running.
    """
    began = time.monotonic_ns()
    record = homes.read_record(home)
    if record is not None and not _ends(home, _ENDING_S):
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGKILL)
        _ends(home, _KILLED_S)
    swept = [one for one in sweep_now() if one.run_id == home.run_id]
    left = [what for one in swept for what in one.left]
    count = sum(one.killed for one in swept)
    return UndoRecord(
        fault="",
        action=f"the keeper was lost in mid-run ({why}): everything that carries the run's id is removed",
        at_ns=began,
        took_ms=round((time.monotonic_ns() - began) / 1e6, 3),
        ok=not left,
        proof="" if left else f"nothing carries the run's id {home.run_id}; {count} processes, containers were ended",
        error=f"still there: {', '.join(left)}" if left else "",
    )


def _ends(home: RunHome, within_s: float) -> bool:
    """Whether a run's keeper ends by itself."""
    deadline = time.monotonic() + within_s
    while (record := homes.read_record(home)) is not None and record.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_S)
    return True
