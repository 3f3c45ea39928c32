"""What payments knows of each order's money.

At most one charge, at most one refund of it, and a fence once it is refunded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from services_under_test.common.store import Store

SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
    order_id TEXT PRIMARY KEY, amount_minor INTEGER NOT NULL, state TEXT NOT NULL, sent INTEGER NOT NULL DEFAULT 0,
    acquirer_id TEXT NOT NULL DEFAULT '', correlation_id TEXT NOT NULL, touched_s REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS refunds (
    order_id TEXT PRIMARY KEY, amount_minor INTEGER NOT NULL, state TEXT NOT NULL, acquirer_id TEXT NOT NULL DEFAULT '',
    correlation_id TEXT NOT NULL, touched_s REAL NOT NULL
);
"""


class ChargeState(StrEnum):
    """PENDING: begun, its outcome not known. CANCELLED: a fence, nothing was or will be charged."""

    PENDING = "PENDING"
    CHARGED = "CHARGED"
    DECLINED = "DECLINED"
    CANCELLED = "CANCELLED"


class RefundState(StrEnum):
    """EMPTY: asked for where nothing had been charged."""

    PENDING = "PENDING"
    REFUNDED = "REFUNDED"
    EMPTY = "EMPTY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """A charge as it stands; ``sent`` tells that the acquirer may know of it. Amounts are integer minor units."""

    order_id: str
    amount_minor: int
    state: ChargeState
    sent: bool
    acquirer_id: str
    correlation_id: str

    def view(self) -> dict[str, Any]:
        """Give the charge as callers see it."""
        return {
            "id": self.acquirer_id or None,
            "orderId": self.order_id,
            "amount_minor": self.amount_minor,
            "state": self.state.value,
        }


class Ledger:
    """The tables of charges and refunds; each method is one statement, to be put into transactions by its callers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.schema(SCHEMA)

    def charge(self, order_id: str) -> Charge | None:
        """Give an order's charge."""
        row = self._store.row("SELECT * FROM charges WHERE order_id = ?", order_id)
        return None if row is None else _charge(row)

    def begin_charge(
        self, order_id: str, amount_minor: int, state: ChargeState, correlation_id: str, now_s: float
    ) -> None:
        """Write a charge down before anything is sent, or a fence in its place."""
        self._store.run(
            "INSERT INTO charges (order_id, amount_minor, state, correlation_id, touched_s) VALUES (?, ?, ?, ?, ?)",
            order_id,
            amount_minor,
            state.value,
            correlation_id,
            now_s,
        )

    def mark_sent(self, order_id: str, *, sent: bool, now_s: float) -> None:
        """Note whether the acquirer may know of the charge; written before it is told."""
        self._store.run("UPDATE charges SET sent = ?, touched_s = ? WHERE order_id = ?", int(sent), now_s, order_id)

    def end_charge(self, order_id: str, state: ChargeState, acquirer_id: str = "") -> None:
        """Note how a charge ended; only a pending one can end."""
        self._store.run(
            "UPDATE charges SET state = ?, acquirer_id = ? WHERE order_id = ? AND state = 'PENDING'",
            state.value,
            acquirer_id,
            order_id,
        )

    def refund_state(self, order_id: str) -> RefundState | None:
        """Give the state of an order's refund."""
        row = self._store.row("SELECT state FROM refunds WHERE order_id = ?", order_id)
        return None if row is None else RefundState(row["state"])

    def put_refund(
        self, order_id: str, amount_minor: int, state: RefundState, correlation_id: str, now_s: float
    ) -> None:
        """Write a refund down, or its new state."""
        self._store.run(
            "INSERT INTO refunds (order_id, amount_minor, state, correlation_id, touched_s) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (order_id) DO UPDATE SET state = excluded.state, touched_s = excluded.touched_s",
            order_id,
            amount_minor,
            state.value,
            correlation_id,
            now_s,
        )

    def unresolved(self, before_s: float) -> list[Charge]:
        """List the charges whose outcome is unknown and that nobody has touched since."""
        return [
            _charge(row)
            for row in self._store.rows(
                "SELECT * FROM charges WHERE state = 'PENDING' AND sent = 1 AND touched_s <= ?", before_s
            )
        ]

    def unfinished_refunds(self, before_s: float) -> list[tuple[str, int, str]]:
        """List (order id, amount in minor units, correlation id) of refunds that were begun and not finished."""
        return [
            (row["order_id"], row["amount_minor"], row["correlation_id"])
            for row in self._store.rows("SELECT * FROM refunds WHERE state = 'PENDING' AND touched_s <= ?", before_s)
        ]

    def effects(self) -> list[dict[str, Any]]:
        """Give both ledgers; ``count`` is 1 where money moved."""
        return [*self._effects("charges", ChargeState.CHARGED), *self._effects("refunds", RefundState.REFUNDED)]

    def _effects(self, table: str, moved: ChargeState | RefundState) -> list[dict[str, Any]]:
        return [
            {
                "ledger": table,
                "key": row["order_id"],
                "marker": row["order_id"],
                "amount_minor": row["amount_minor"],
                "state": row["state"],
                "count": int(row["state"] == moved.value),
            }
            for row in self._store.rows(f"SELECT order_id, amount_minor, state FROM {table} ORDER BY rowid")
        ]


def _charge(row: Mapping[str, Any]) -> Charge:
    return Charge(
        order_id=row["order_id"],
        amount_minor=row["amount_minor"],
        state=ChargeState(row["state"]),
        sent=bool(row["sent"]),
        acquirer_id=row["acquirer_id"],
        correlation_id=row["correlation_id"],
    )
