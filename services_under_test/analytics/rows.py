"""A row in the warehouse for every event, once: repeated until it is there, or parked when it cannot be."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from services_under_test.common import retry
from services_under_test.common.http_app import Rows
from services_under_test.common.http_client import HttpClient
from services_under_test.common.runner import Host
from services_under_test.common.strategies import AfterFailure

log = logging.getLogger(__name__)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    event_id TEXT PRIMARY KEY, kind TEXT NOT NULL, marker TEXT NOT NULL, state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT ''
);
"""
Settled = Literal["stored", "parked", "skipped"]


class Warehouse:
    """Stores rows under the event's id as key.

    The warehouse deduplicates by it, and so does the table of what was stored.
    """

    def __init__(self, host: Host, client: HttpClient) -> None:
        self._host = host
        self._store = host.store
        self._client = client
        self._attempts = host.env.count("ANALYTICS_ATTEMPTS", 8)
        self._base_s = host.env.seconds("ANALYTICS_BACKOFF_BASE_S", 0.2)
        self._cap_s = host.env.seconds("ANALYTICS_BACKOFF_CAP_S", 5.0)
        self._timeout_s = host.env.seconds("WAREHOUSE_TIMEOUT_S", 2.0)
        host.store.schema(_SCHEMA)

    async def store(self, event_id: str, kind: str, marker: str, after_failure: Callable[..., AfterFailure]) -> Settled:
        """Store an event's row; ``after_failure`` decides, by attempts made and allowed, whether to go on."""
        row = self._store.row("SELECT state FROM rows WHERE event_id = ?", event_id)
        if row is not None and row["state"] == "STORED":
            log.info("event %s was stored before", event_id)
            return "stored"
        attempt = 0
        while True:
            outcome = await self._client.send(
                "POST", "/rows", payload={"eventId": event_id, "kind": kind}, key=event_id, timeout_s=self._timeout_s
            )
            attempt += 1
            if outcome.ok:
                self.note(event_id, kind, marker, "STORED", "")
                return "stored"
            log.warning("row for event %s: attempt %d failed: %s", event_id, attempt, outcome.code)
            what = after_failure(attempt, self._attempts, permanent=outcome.refused)
            if what == "park":
                self.note(event_id, kind, marker, "PARKED", outcome.code)
                return "parked"
            if what == "skip":
                return "skipped"
            await self._host.clock.sleep(
                retry.backoff_s(attempt - 1, base_s=self._base_s, cap_s=self._cap_s, rng=self._host.rng)
            )

    def note(self, event_id: str, kind: str, marker: str, state: str, reason: str) -> None:
        """Note what became of an event."""
        self._store.run(
            "INSERT INTO rows (event_id, kind, marker, state, reason) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (event_id) DO UPDATE SET state = excluded.state, reason = excluded.reason",
            event_id,
            kind,
            marker,
            state,
            reason,
        )

    def effects(self) -> Rows:
        """Give what was stored (ledger ``rows``) and what was given up (ledger ``parked``)."""
        return [
            {
                "ledger": "rows" if row["state"] == "STORED" else "parked",
                "key": row["event_id"],
                "marker": row["marker"],
                "amount_minor": None,
                "state": row["state"],
                "count": 1,
                "kind": row["kind"],
                "reason": row["reason"],
            }
            for row in self._store.rows("SELECT * FROM rows ORDER BY rowid")
        ]
