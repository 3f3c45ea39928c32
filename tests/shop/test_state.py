"""The laws of what the services write down: keys, outbox, stock, transactions."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from services_under_test.common.idempotency import Keys, KeyState
from services_under_test.common.outbox import Event, Outbox
from services_under_test.common.store import Store
from services_under_test.common.telemetry import Telemetry
from services_under_test.inventory.stock import Refusal, ReservationState, Stock


def test_keys_are_new_then_busy_then_done_and_compare_payloads_first(tmp_path: Path):
    keys = Keys(Store(tmp_path / "k.db"))
    assert keys.claim("s", "k", "p", "1").state is KeyState.NEW
    assert keys.claim("s", "k", "p", "2").state is KeyState.BUSY
    assert keys.claim("s", "k", "q", "2").state is KeyState.CLASH
    assert keys.claim("t", "k", "q", "3").state is KeyState.NEW
    keys.settle("s", "1", 201, {"a": 1})
    done = keys.claim("s", "k", "p", "2")
    assert (done.state, done.ref, done.status, done.body) == (KeyState.DONE, "1", 201, {"a": 1})
    assert keys.claim("s", "k", "q", "2").state is KeyState.CLASH


def test_outbox_keeps_the_order_forgets_nothing_on_failure_and_nothing_of_a_rollback(tmp_path: Path):
    async def go() -> list[str]:
        store = Store(tmp_path / "o.db")
        outbox, seen, failures = Outbox(store, Telemetry()), [], [2]
        with pytest.raises(ZeroDivisionError), store.transaction():  # noqa: PT012 - the block is the law
            outbox.add("bus", "undone", "k", {})
            raise ZeroDivisionError
        for type_ in ("a", "b"):
            with store.transaction():
                outbox.add("bus", type_, "k", {})

        async def publish(event: Event) -> None:
            if event.type == "b" and failures[0]:
                failures[0] -= 1
                raise ConnectionError
            seen.append(event.type)

        for _ in range(2):
            with pytest.raises(ConnectionError):
                await outbox.relay("bus", publish)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(outbox.relay("bus", publish), 0.1)
        assert outbox.effects() == []
        return seen

    assert asyncio.run(go()) == ["a", "b"]


def test_stock_is_conserved_and_a_release_fences_off_what_comes_late(tmp_path: Path):
    stock = Stock(Store(tmp_path / "s.db"), {"book": 5})

    def counts() -> dict[str, int]:
        return {row["state"]: row["count"] for row in stock.effects() if row["ledger"] == "stock"}

    assert stock.reserve("o1", {"book": 3}) is stock.reserve("o1", {"book": 3}) is ReservationState.RESERVED
    with pytest.raises(Refusal, match="no 3"):
        stock.reserve("o2", {"book": 3})
    assert counts() == {"available": 2, "reserved": 3}
    stock.confirm("o1")
    stock.confirm("o1")
    assert counts() == {"available": 2, "sold": 3}
    stock.release("o1")
    stock.release("o1")
    assert counts() == {"available": 5}
    stock.release("never")
    for step in (
        lambda: stock.reserve("never", {"book": 1}),
        lambda: stock.confirm("o1"),
        lambda: stock.reserve("o1", {"book": 3}),
    ):
        with pytest.raises(Refusal):
            step()
    assert counts() == {"available": 5}


def test_a_transaction_that_breaks_leaves_nothing(tmp_path: Path):
    store = Store(tmp_path / "t.db")
    store.schema("CREATE TABLE t (a INTEGER PRIMARY KEY)")
    with pytest.raises(sqlite3.IntegrityError), store.transaction():  # noqa: PT012 - the block is the law
        store.run("INSERT INTO t VALUES (1)")
        store.run("INSERT INTO t VALUES (1)")
    assert store.rows("SELECT * FROM t") == []
