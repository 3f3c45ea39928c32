"""What every connection shares: rules, spool, clock, who waits for what, stubs and open attempts."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from typing import Any

from pytest_chaos.wire.record import Record
from pytest_chaos.wire.spool import Row, Spool
from pytest_chaos.wire.stub import Stub
from pytest_chaos.wire.table import Active, Decision, Step, Table


class World:
    """The state of one wire process. ``tell`` sends an event to every control client.

    Attempts, connections and effects are numbered from ``ids_from``, so that a wire that replaces one that died does
    not give its names again.
    """

    now = staticmethod(time.monotonic_ns)
    """Gives CLOCK_MONOTONIC in ns."""

    def __init__(self, *, seed: int, spool: Spool, ids_from: int = 1) -> None:
        self.table = Table(seed, clock=self.now, log=self._decided)
        self.spool = spool
        self.stubs: dict[str, Stub] = {}
        self.open: dict[str, Record] = {}
        self.tell: Callable[[dict[str, Any]], None] = lambda _: None
        self.ended: Callable[[Record], None] = lambda _: None
        """Told of each attempt that ends on a link where a rule counts them."""
        self.started_ns = self.now()
        self._attempts = itertools.count(ids_from)
        self._connections = itertools.count(ids_from)
        self._effects = itertools.count(ids_from)
        self._waiting: dict[Active, dict[str, asyncio.Future[None]]] = {}
        self._flush: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_id(self) -> str:
        """Give the next connection's name."""
        return f"c{next(self._connections)}"

    def attempt_id(self) -> str:
        """Give the next attempt's name."""
        return f"a{next(self._attempts)}"

    def begin(
        self, *, link: str, connection: str, reused: bool, protocol: str, connected_ns: int, started_ns: int
    ) -> Record:
        """Begin an attempt; it is open until :meth:`end`."""
        record = Record(self.attempt_id(), link, connection, reused, protocol, connected_ns, started_ns)
        self.open[record.id] = record
        return record

    def end(self, record: Record, *, error: str = "", closed_by: str = "", at_ns: int | None = None) -> None:
        """End an attempt and put it on the spool; a second end is none."""
        if self.open.pop(record.id, None) is None:
            return
        record.ended_ns = at_ns or self.now()
        record.error, record.closed_by = error, closed_by
        self.append(record)
        if self.table.counted(record.link):
            self.ended(record)

    def discard(self, record: Record) -> None:
        """Forget an attempt that was never made."""
        self.open.pop(record.id, None)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work that belongs to no connection; it ends with wire at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def effect(self, row: dict[str, Any]) -> None:
        """Put a stub's effect on the spool."""
        self.append({"k": "e", "id": f"e{next(self._effects)}", "source": "stub", "at_ns": self.now(), **row})

    def hit(self, active: Active, *, link: str, attempt: str) -> None:
        """Count that a rule acted, and put it on the spool."""
        at_ns = self.now()
        active.hit(at_ns)
        row = {"k": "h", **_of(active), "link": link, "attempt": attempt, "at_ns": at_ns}
        self.append(row)

    def _decided(self, decision: Decision) -> None:
        """Put a decision on the spool: nothing in it but ``at_ns`` depends on when it was made."""
        row: dict[str, Any] = {"k": "d", **_of(decision.active), "link": decision.active.rule.link}
        row |= {"op": decision.op_key, "n": decision.ordinal, "hit": decision.hit}
        if decision.drawn is not None:
            row["drawn"] = round(decision.drawn, 6)
        if decision.delay_s is not None:
            row["delay_ms"] = round(decision.delay_s * 1000, 3)
        self.append({**row, "at_ns": self.now()})

    def append(self, row: Row) -> None:
        """Put a row on the spool; it is encoded once the bytes at hand are sent, and in the file within 50 ms."""
        if self.spool.add(row):
            asyncio.get_running_loop().call_soon(self.spool.encode)
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(self.spool.FLUSH_S, self._flushed)

    def _flushed(self) -> None:
        self._flush = None
        self.spool.flush()

    async def pause(self, step: Step, attempt: str, *, wait_s: float | None) -> None:
        """Wait ``wait_s`` seconds (None: without end), until the attempt is released or the rule lifted."""
        active = step.active
        if active.lifted:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        timer = None
        if wait_s is not None:
            timer = loop.call_later(wait_s, self._ring, future, self.now() + round(wait_s * 1e9))
        waiting = self._waiting.setdefault(active, {})
        waiting[attempt] = future
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()
            if waiting.get(attempt) is future:
                del waiting[attempt]

    def _ring(self, future: asyncio.Future[None], due_ns: int) -> None:
        """Wake who waits, but not before it is due: a loop that counts in whole milliseconds rings up to one early."""
        if not future.done() and self.now() < due_ns:
            asyncio.get_running_loop().call_later(0.001, self._ring, future, due_ns)
        else:
            _wake(future)

    async def point(self, step: Step, record: Record) -> None:
        """Tell that a request reached a point, and hold it until it is released."""
        at_ns = self.now()
        event = {
            "event": "point",
            "rule": step.active.rule.id,
            "attempt": record.id,
            "link": record.link,
            "at_ns": at_ns,
        }
        self.tell({**event, "schedule": step.active.schedule, "operation": record.operation})
        await self.pause(step, record.id, wait_s=None)

    def release(self, rule: str, attempt: str) -> bool:
        """Let one held request go on; False when no such request is held."""
        for active, waiting in self._waiting.items():
            if active.rule.id == rule and attempt in waiting:
                _wake(waiting[attempt])
                return True
        return False

    def lift(self, lifted: list[Active]) -> None:
        """Let everything go on that waits for these rules."""
        for active in lifted:
            for future in self._waiting.pop(active, {}).values():
                _wake(future)


def _of(active: Active) -> dict[str, str]:
    """Say which rule of which fault of which schedule; faults of two tests may bear one name."""
    return {"rule": active.rule.id, "fault": active.rule.fault, "schedule": active.schedule}


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
