"""Stock and reservations.

Every step is one transaction, named by its order, and leaves a mark that later steps respect.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from services_under_test.common.store import Store

SCHEMA = """
CREATE TABLE IF NOT EXISTS stock (
    product TEXT PRIMARY KEY, available INTEGER NOT NULL CHECK (available >= 0),
    reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0), sold INTEGER NOT NULL DEFAULT 0 CHECK (sold >= 0)
);
CREATE TABLE IF NOT EXISTS reservations (order_id TEXT PRIMARY KEY, items TEXT NOT NULL, state TEXT NOT NULL);
"""


class Refusal(Exception):  # noqa: N818 - a refusal is an answer
    """A step that will never succeed; ``reason`` is ``out_of_stock``, ``released``, ``unknown`` or ``clash``."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class ReservationState(StrEnum):
    """RELEASED is for ever: it also fences off a reservation that comes too late."""

    RESERVED = "RESERVED"
    CONFIRMED = "CONFIRMED"
    RELEASED = "RELEASED"


class Stock:
    """The table of products and that of reservations. Quantities are whole pieces."""

    def __init__(self, store: Store, initial: Mapping[str, int]) -> None:
        self._store = store
        store.schema(SCHEMA)
        for product, pieces in initial.items():
            store.run("INSERT OR IGNORE INTO stock (product, available) VALUES (?, ?)", product, pieces)

    def reserve(self, order_id: str, items: Mapping[str, int]) -> ReservationState:
        """Hold pieces for an order, all or none; a repeat gives the state that it has."""
        with self._store.transaction():
            known = self._reservation(order_id)
            if known is None:
                for product, pieces in items.items():
                    self._take(product, pieces)
                self._put(order_id, items, ReservationState.RESERVED)
                return ReservationState.RESERVED
            state, held = known
            if state is ReservationState.RELEASED:
                raise Refusal("released", f"order {order_id} was released; nothing can be reserved for it any more")
            if held != dict(items):
                raise Refusal("clash", f"order {order_id} holds something else: {held}")
            return state

    def confirm(self, order_id: str) -> ReservationState:
        """Turn what an order holds into a sale."""
        with self._store.transaction():
            known = self._reservation(order_id)
            if known is None or known[0] is ReservationState.RELEASED:
                raise Refusal(
                    "unknown" if known is None else "released",
                    f"order {order_id} holds nothing that could be confirmed",
                )
            state, held = known
            if state is ReservationState.RESERVED:
                for product, pieces in held.items():
                    self._store.run(
                        "UPDATE stock SET reserved = reserved - ?, sold = sold + ? WHERE product = ?",
                        pieces,
                        pieces,
                        product,
                    )
                self._put(order_id, held, ReservationState.CONFIRMED)
            return ReservationState.CONFIRMED

    def release(self, order_id: str) -> ReservationState:
        """Give back what an order holds or has bought; an order that is not known is fenced off."""
        with self._store.transaction():
            state, held = self._reservation(order_id) or (ReservationState.RELEASED, {})
            column = {ReservationState.RESERVED: "reserved", ReservationState.CONFIRMED: "sold"}.get(state)
            if column is not None:
                for product, pieces in held.items():
                    self._store.run(
                        f"UPDATE stock SET {column} = {column} - ?, available = available + ? WHERE product = ?",
                        pieces,
                        pieces,
                        product,
                    )
            self._put(order_id, held, ReservationState.RELEASED)
            return ReservationState.RELEASED

    def effects(self) -> list[dict[str, Any]]:
        """Give reservations, and for each product how many pieces are available, reserved and sold."""
        rows: list[dict[str, Any]] = []
        for row in self._store.rows("SELECT * FROM reservations ORDER BY rowid"):
            pieces = sum(json.loads(row["items"]).values())
            held = row["state"] != ReservationState.RELEASED.value
            rows.append(_row("reservations", row["order_id"], row["order_id"], row["state"], pieces, int(held)))
        for row in self._store.rows("SELECT * FROM stock ORDER BY product"):
            # Nothing reserved is no row: a state of "reserved" reads as work in flight.
            states = [state for state in ("available", "reserved", "sold") if row[state] or state == "available"]
            rows += [_row("stock", row["product"], "", state, row[state], row[state]) for state in states]
        return rows

    def _take(self, product: str, pieces: int) -> None:
        taken = self._store.run(
            "UPDATE stock SET available = available - ?, reserved = reserved + ? WHERE product = ? AND available >= ?",
            pieces,
            pieces,
            product,
            pieces,
        )
        if not taken:
            raise Refusal("out_of_stock", f"there are no {pieces} of {product!r}")

    def _reservation(self, order_id: str) -> tuple[ReservationState, dict[str, int]] | None:
        row = self._store.row("SELECT items, state FROM reservations WHERE order_id = ?", order_id)
        return None if row is None else (ReservationState(row["state"]), json.loads(row["items"]))

    def _put(self, order_id: str, items: Mapping[str, int], state: ReservationState) -> None:
        self._store.run(
            "INSERT INTO reservations (order_id, items, state) VALUES (?, ?, ?)"
            " ON CONFLICT (order_id) DO UPDATE SET state = excluded.state",
            order_id,
            json.dumps(items),
            state.value,
        )


def _row(ledger: str, key: str, marker: str, state: str, amount: int, count: int) -> dict[str, Any]:
    return {"ledger": ledger, "key": key, "marker": marker, "amount_minor": amount, "state": state, "count": count}
