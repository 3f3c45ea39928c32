"""The email service: a mail for every new user, once, acknowledged after the gateway has it."""

from __future__ import annotations

import json
import logging
from typing import Any

from services_under_test.common import correlation, retry
from services_under_test.common.background import load
from services_under_test.common.http_app import Rows
from services_under_test.common.http_client import HttpClient
from services_under_test.common.outcome import Outcome
from services_under_test.common.runner import Built, Host

log = logging.getLogger(__name__)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS mails (
    event_id TEXT PRIMARY KEY, marker TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT ''
);
"""


class Mailer:
    """Turns messages into mails. What was mailed is remembered by event id.

    What cannot be mailed goes to the dead letters.
    """

    def __init__(self, host: Host, gateway: HttpClient) -> None:
        self._host = host
        self._store = host.store
        self._gateway = gateway
        self._attempts = host.env.count("EMAIL_ATTEMPTS", 5)
        self._base_s = host.env.seconds("EMAIL_BACKOFF_BASE_S", 0.5)
        self._cap_s = host.env.seconds("EMAIL_BACKOFF_CAP_S", 10.0)
        self._timeout_s = host.env.seconds("MAILGATE_TIMEOUT_S", 4.0)
        host.store.schema(_SCHEMA)

    async def handle(self, message: Any) -> None:
        """Settle one message of RabbitMQ.

        Ack after the effect, reject to the dead letters when there is none to be had.
        """
        with correlation.bound(correlation.accept([message.correlation_id] if message.correlation_id else [])):
            attributes: dict[str, str | int] = {
                "messaging.message.id": str(message.message_id),
                "messaging.redelivered": int(bool(message.redelivered)),
            }
            with self._host.telemetry.span("process user.created", attributes=attributes) as mark:
                try:
                    mailed = await self._mail(message)
                except Exception:
                    log.exception("message %s broke its handler", message.message_id)
                    mailed = False
                if mailed:
                    await message.ack()
                else:
                    mark.failed("dead letter")
                    await message.reject(requeue=False)

    async def _mail(self, message: Any) -> bool:
        event_id = message.message_id
        try:
            event = json.loads(message.body)
            mail = {"to": str(event["email"]), "marker": str(event["marker"])}
        except (ValueError, KeyError, TypeError) as wrong:
            log.warning("message %s cannot be read: %r", event_id, wrong)
            self._note(event_id or correlation.new(), "", "DEAD", f"unreadable: {wrong!r}")
            return False
        event_id = event_id or str(event.get("eventId"))
        row = self._store.row("SELECT state FROM mails WHERE event_id = ?", event_id)
        if self._host.strategies.mail_seen(row is not None and row["state"] == "SENT"):
            log.info("event %s was mailed before", event_id)
            return True
        outcome = await self._try(event_id, mail)
        if outcome.ok:
            self._note(event_id, mail["marker"], "SENT", "")
            return True
        log.warning("event %s goes to the dead letters: %s", event_id, outcome.code)
        self._note(event_id, mail["marker"], "DEAD", outcome.code)
        return False

    async def _try(self, event_id: str, mail: dict[str, str]) -> Outcome:
        while True:
            attempt = self._count(event_id, mail["marker"])
            outcome = await self._gateway.send(
                "POST", "/mails", payload=mail, key=self._host.strategies.mail_key(event_id), timeout_s=self._timeout_s
            )
            if outcome.ok or outcome.refused or attempt >= self._attempts:
                return outcome
            pause_s = retry.backoff_s(attempt - 1, base_s=self._base_s, cap_s=self._cap_s, rng=self._host.rng)
            await self._host.clock.sleep(max(pause_s, min(outcome.retry_after_s or 0.0, self._cap_s)))

    def _count(self, event_id: str, marker: str) -> int:
        # Counted in the store, so that a message that kills its consumer does not do so for ever.
        self._store.run(
            "INSERT INTO mails (event_id, marker, state, attempts) VALUES (?, ?, 'TRYING', 1)"
            " ON CONFLICT (event_id) DO UPDATE SET attempts = attempts + 1",
            event_id,
            marker,
        )
        row = self._store.row("SELECT attempts FROM mails WHERE event_id = ?", event_id)
        return int(row["attempts"]) if row else 1

    def _note(self, event_id: str, marker: str, state: str, reason: str) -> None:
        self._store.run(
            "INSERT INTO mails (event_id, marker, state, reason) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (event_id) DO UPDATE SET state = excluded.state, reason = excluded.reason",
            event_id,
            marker,
            state,
            reason,
        )

    def effects(self) -> Rows:
        """Give what was mailed (ledger ``mails``) and what was given up (ledger ``parked``)."""
        return [
            {
                "ledger": "parked" if row["state"] == "DEAD" else "mails",
                "key": row["event_id"],
                "marker": row["marker"],
                "amount_minor": None,
                "state": row["state"],
                "count": int(row["state"] != "TRYING"),
                "reason": row["reason"],
            }
            for row in self._store.rows("SELECT * FROM mails ORDER BY rowid")
        ]


def build(host: Host) -> Built:
    """Put the email service together."""
    gateway = HttpClient(host.env.required("MAILGATE_URL"), strategies=host.strategies, telemetry=host.telemetry)
    mailer = Mailer(host, gateway)
    url, prefetch = host.env.text("AMQP_URL"), host.env.count("EMAIL_PREFETCH", 8)

    async def consume() -> None:
        amqp = await load("services_under_test.common.amqp")
        host.telemetry.broker("aio_pika")
        await amqp.consume(url, prefetch=prefetch, declare=host.strategies.email_queue, handle=mailer.handle)

    async def start() -> None:
        if url:
            host.background.keep("consumer of user.created", consume)

    return Built(routes=[], effects=mailer.effects, start=start, stop=gateway.close)
