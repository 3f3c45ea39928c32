"""The book of orders: what was asked for, how far its saga has come, and what has to be undone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from services_under_test.common.outcome import Effect
from services_under_test.common.store import Store

Step = Literal["reserve", "pay", "confirm"]
UndoName = Literal["refund", "release"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL, items TEXT NOT NULL, total_minor INTEGER NOT NULL, marker TEXT NOT NULL,
    scope TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', reserve TEXT NOT NULL DEFAULT 'none',
    pay TEXT NOT NULL DEFAULT 'none', confirm TEXT NOT NULL DEFAULT 'none', refund INTEGER NOT NULL DEFAULT 0,
    release INTEGER NOT NULL DEFAULT 0, correlation_id TEXT NOT NULL, carrier TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS orders_by_user ON orders (user_id);
"""


class OrderState(StrEnum):
    """PENDING goes forward, COMPENSATING goes back and never forward again; the other two are for ever."""

    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """So many pieces of a product at a price in integer minor units."""

    product_id: str
    quantity: int
    price_minor: int

    def view(self) -> dict[str, Any]:
        """Give the item as callers see it."""
        return {"productId": self.product_id, "quantity": self.quantity, "price_minor": self.price_minor}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order and its saga. ``reserve``, ``pay`` and ``confirm`` tell what is known of each step's effect.

    ``refund`` and ``release`` tell whether that still has to be done.
    """

    id: str
    user_id: str
    items: tuple[Item, ...]
    marker: str
    scope: str
    correlation_id: str
    carrier: Mapping[str, str]
    state: OrderState = OrderState.PENDING
    reason: str = ""
    reserve: Effect = Effect.NONE
    pay: Effect = Effect.NONE
    confirm: Effect = Effect.NONE
    refund: bool = False
    release: bool = False

    @property
    def total_minor(self) -> int:
        """What the order costs, in integer minor units."""
        return sum(item.quantity * item.price_minor for item in self.items)

    def effect_of(self, step: Step) -> Effect:
        """Tell what is known of a step's effect."""
        return {"reserve": self.reserve, "pay": self.pay, "confirm": self.confirm}[step]

    def view(self) -> dict[str, Any]:
        """Give the order as callers see it."""
        return {
            "id": self.id,
            "userId": self.user_id,
            "items": [item.view() for item in self.items],
            "total_minor": self.total_minor,
            "status": self.state.value,
            "marker": self.marker,
        }


class Book:
    """The table of orders; each method is one statement, to be put into transactions by its callers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.schema(SCHEMA)

    def add(self, order: Order) -> None:
        """Write a new order down."""
        items = json.dumps([[item.product_id, item.quantity, item.price_minor] for item in order.items])
        self._store.run(
            "INSERT INTO orders (id, user_id, items, total_minor, marker, scope, state, correlation_id, carrier)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            order.id,
            order.user_id,
            items,
            order.total_minor,
            order.marker,
            order.scope,
            order.state.value,
            order.correlation_id,
            json.dumps(order.carrier),
        )

    def get(self, order_id: str) -> Order:
        """Give an order; KeyError when there is none."""
        row = self._store.row("SELECT * FROM orders WHERE id = ?", order_id)
        if row is None:
            raise KeyError(order_id)
        return _order(row)

    def of_user(self, user_id: str) -> Sequence[Order]:
        """List a user's orders, oldest first."""
        return [
            _order(row) for row in self._store.rows("SELECT * FROM orders WHERE user_id = ? ORDER BY rowid", user_id)
        ]

    def unfinished(self) -> Sequence[Order]:
        """List the orders whose saga has not come to an end, oldest first."""
        rows = self._store.rows("SELECT * FROM orders WHERE state IN ('PENDING', 'COMPENSATING') ORDER BY rowid")
        return [_order(row) for row in rows]

    def note(self, order_id: str, step: Step, effect: Effect) -> None:
        """Note what is known of a step's effect; UNKNOWN is noted before the step is sent."""
        self._store.run(f"UPDATE orders SET {step} = ? WHERE id = ?", effect.value, order_id)

    def turn_back(self, order_id: str, reason: str, *, refund: bool, release: bool) -> None:
        """Decide that an order will never be confirmed, and what has to be undone."""
        self._store.run(
            "UPDATE orders SET state = 'COMPENSATING', reason = ?, refund = ?, release = ?"
            " WHERE id = ? AND state = 'PENDING'",
            reason,
            int(refund),
            int(release),
            order_id,
        )

    def undone(self, order_id: str, what: UndoName) -> None:
        """Note that something has been undone."""
        self._store.run(f"UPDATE orders SET {what} = 0 WHERE id = ?", order_id)

    def end(self, order_id: str, state: OrderState) -> None:
        """Note the saga's end."""
        self._store.run("UPDATE orders SET state = ? WHERE id = ?", state.value, order_id)

    def effects(self) -> list[dict[str, Any]]:
        """Give the ledger; ``count`` is 1 for a confirmed order."""
        return [
            {
                "ledger": "orders",
                "key": row["id"],
                "marker": row["marker"],
                "amount_minor": row["total_minor"],
                "state": row["state"],
                "count": int(row["state"] == OrderState.CONFIRMED.value),
                "reason": row["reason"],
            }
            for row in self._store.rows("SELECT * FROM orders ORDER BY rowid")
        ]


def _order(row: Mapping[str, Any]) -> Order:
    return Order(
        id=row["id"],
        user_id=row["user_id"],
        items=tuple(
            Item(product_id=product, quantity=pieces, price_minor=price)
            for product, pieces, price in json.loads(row["items"])
        ),
        marker=row["marker"],
        scope=row["scope"],
        correlation_id=row["correlation_id"],
        carrier=json.loads(row["carrier"]),
        state=OrderState(row["state"]),
        reason=row["reason"],
        reserve=Effect(row["reserve"]),
        pay=Effect(row["pay"]),
        confirm=Effect(row["confirm"]),
        refund=bool(row["refund"]),
        release=bool(row["release"]),
    )
