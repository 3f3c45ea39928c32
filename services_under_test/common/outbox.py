"""The transactional outbox.

An event is a row of the transaction that it tells of, and a relay publishes it until it is confirmed.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services_under_test.common import correlation
from services_under_test.common.store import Store
from services_under_test.common.telemetry import Telemetry

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
    key TEXT NOT NULL, payload TEXT NOT NULL, correlation_id TEXT NOT NULL, carrier TEXT NOT NULL
);
"""
_BATCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. ``key`` orders events of one aggregate; ``id`` is what consumers deduplicate by."""

    id: str
    type: str
    key: str
    payload: Mapping[str, Any]
    correlation_id: str

    def body(self) -> bytes:
        """Give the event as JSON."""
        return json.dumps({"eventId": self.id, "type": self.type, **self.payload}).encode()


Publish = Callable[[Event], Awaitable[None]]


class Outbox:
    """The table, and a relay for each channel. A channel is a broker; one that is away holds up no other."""

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        self._news: dict[str, asyncio.Event] = {}
        store.schema(SCHEMA)

    def add(self, channel: str, type_: str, key: str, payload: Mapping[str, Any]) -> None:
        """Add an event of the work in hand; to be called inside the transaction that it tells of."""
        self._store.run(
            "INSERT INTO outbox (channel, id, type, key, payload, correlation_id, carrier)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            channel,
            uuid.uuid4().hex,
            type_,
            key,
            json.dumps(payload),
            correlation.current(),
            json.dumps(self._telemetry.carrier()),
        )
        self._bell(channel).set()

    def effects(self) -> list[dict[str, Any]]:
        """Give a row for each channel with events that no broker has confirmed yet."""
        rows = self._store.rows("SELECT channel, count(*) AS waiting FROM outbox GROUP BY channel")
        return [
            {
                "ledger": "outbox",
                "key": row["channel"],
                "marker": "",
                "amount_minor": None,
                "state": "WAITING",
                "count": row["waiting"],
            }
            for row in rows
        ]

    async def relay(self, channel: str, publish: Publish) -> None:
        """Publish a channel's events in the order in which they were committed, for ever.

        The first that fails ends it with publish's own error: the next call begins again with the same event. Rows are
        found by being there, not by a last number seen, so none is skipped; a row goes when the broker has confirmed
        it, so a crash in between publishes it twice, under one id.
        """
        bell = self._bell(channel)
        while True:
            bell.clear()
            rows = self._store.rows("SELECT * FROM outbox WHERE channel = ? ORDER BY number LIMIT ?", channel, _BATCH)
            for row in rows:
                await self._publish(row, publish)
            if not rows:
                await bell.wait()

    async def _publish(self, row: Mapping[str, Any], publish: Publish) -> None:
        event = Event(
            id=row["id"],
            type=row["type"],
            key=row["key"],
            payload=json.loads(row["payload"]),
            correlation_id=row["correlation_id"],
        )
        attributes: dict[str, str | int] = {
            "messaging.message.id": event.id,
            "messaging.destination.name": row["channel"],
        }
        with (
            correlation.bound(event.correlation_id),
            self._telemetry.span(f"relay {event.type}", carrier=json.loads(row["carrier"]), attributes=attributes),
        ):
            await publish(event)
        self._store.run("DELETE FROM outbox WHERE number = ?", row["number"])

    def _bell(self, channel: str) -> asyncio.Event:
        return self._news.setdefault(channel, asyncio.Event())
