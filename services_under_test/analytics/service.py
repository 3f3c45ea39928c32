"""The analytics service.

Order events from Kafka and user activity from a Redis stream, a row in the warehouse for each.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from services_under_test.analytics.rows import Warehouse
from services_under_test.common import correlation
from services_under_test.common.background import load
from services_under_test.common.http_client import HttpClient
from services_under_test.common.outbox import Event
from services_under_test.common.runner import Built, Host
from services_under_test.common.strategies import Strategies

log = logging.getLogger(__name__)
TOPIC = "orders"
PARKED_TOPIC = "orders.parked"
STREAM = "user.activity"
GROUP = "analytics"


class _Records:
    """Handles records of Kafka.

    A record that cannot be stored is published to another topic before its offset is committed.
    """

    def __init__(self, host: Host, kafka: Any, bootstrap: str, warehouse: Warehouse) -> None:
        self._host = host
        self._kafka = kafka
        self._bootstrap = bootstrap
        self._warehouse = warehouse

    async def handle(self, record: Any) -> None:
        """Handle one record; what is raised leaves it uncommitted."""
        headers = self._kafka.carrier(record)
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
            "messaging.consumer.group.name": GROUP,
        }
        with (
            correlation.bound(
                correlation.accept([headers[correlation.HEADER]] if correlation.HEADER in headers else [])
            ),
            self._host.telemetry.span(
                f"process {record.topic}", kind="consumer", carrier=headers, attributes=attributes
            ) as mark,
        ):
            reason = await self._store(record)
            if reason:
                mark.failed(reason)
                await self._park(record, headers, reason)

    async def _store(self, record: Any) -> str:
        found = _read(record.value)
        if found is None:
            self._warehouse.note(
                f"{record.topic}-{record.partition}-{record.offset}", "unreadable", "", "PARKED", "unreadable"
            )
            return "unreadable"
        event_id, kind, marker = found
        settled = await self._warehouse.store(event_id, kind, marker, self._host.strategies.after_failure)
        return "no row could be stored" if settled == "parked" else ""

    async def _park(self, record: Any, headers: Mapping[str, str], reason: str) -> None:
        log.warning("record %s/%s is parked: %s", record.partition, record.offset, reason)
        event_id = headers.get("event-id") or f"{record.topic}-{record.partition}-{record.offset}"
        event = Event(
            id=event_id,
            type="parked",
            key=(record.key or b"").decode("utf-8", "replace"),
            payload={"reason": reason, "record": (record.value or b"").decode("utf-8", "replace")},
            correlation_id=correlation.current(),
        )
        async with self._kafka.Publisher(self._bootstrap, PARKED_TOPIC, self._host.strategies) as publisher:
            await publisher.publish(event, reason=reason)


class _Entries:
    """Handles entries of the stream."""

    def __init__(self, host: Host, warehouse: Warehouse) -> None:
        self._host = host
        self._warehouse = warehouse

    async def handle(self, entry_id: str, fields: Mapping[str, str]) -> bool:
        """Handle one entry; give False when it has to be parked."""
        attributes = {
            "messaging.system": "redis",
            "messaging.destination.name": STREAM,
            "messaging.message.id": entry_id,
        }
        with self._host.telemetry.span(
            f"process {STREAM}", kind="consumer", carrier=fields, attributes=attributes
        ) as mark:
            found = _read(fields.get("payload"))
            if found is None:
                self._warehouse.note(f"{STREAM}-{entry_id}", "unreadable", "", "PARKED", "unreadable")
                settled = "parked"
            else:
                settled = await self._warehouse.store(*found, Strategies().after_failure)
            if settled == "parked":
                mark.failed("parked")
            return settled != "parked"


def _read(body: bytes | str | None) -> tuple[str, str, str] | None:
    """Give an event's id, type and marker; None when it cannot be read."""
    try:
        event = json.loads(body or "")
        return str(event["eventId"]), str(event["type"]), str(event.get("marker", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def build(host: Host) -> Built:
    """Put the analytics service together."""
    client = HttpClient(host.env.required("WAREHOUSE_URL"), strategies=host.strategies, telemetry=host.telemetry)
    warehouse = Warehouse(host, client)
    bootstrap, redis_url = host.env.text("KAFKA_BOOTSTRAP"), host.env.text("REDIS_URL")
    # Who this consumer is follows from where its state is: the same after a crash, another for another replica.
    instance = f"{GROUP}-{hashlib.sha256(host.env.text('DATA_DIR', 'data').encode()).hexdigest()[:12]}"
    session_s = host.env.seconds("KAFKA_SESSION_TIMEOUT_S", 6.0)
    claim_idle_s = host.env.seconds("REDIS_CLAIM_IDLE_S", 30.0)

    async def records() -> None:
        kafka = await load("services_under_test.common.kafka")
        host.telemetry.broker("aiokafka")
        handler = _Records(host, kafka, bootstrap, warehouse)
        await kafka.consume(
            bootstrap, TOPIC, group=GROUP, instance=instance, session_s=session_s, handle=handler.handle
        )

    async def entries() -> None:
        streams = await load("services_under_test.common.redis_streams")
        host.telemetry.broker("redis")
        group = streams.Group(
            redis_url, STREAM, group=GROUP, consumer=instance, claim_idle_s=claim_idle_s, telemetry=host.telemetry
        )
        await group.consume(_Entries(host, warehouse).handle)

    async def start() -> None:
        if bootstrap:
            host.background.keep("consumer of orders", records)
        if redis_url:
            host.background.keep("consumer of user.activity", entries)

    return Built(routes=[], effects=warehouse.effects, start=start, stop=client.close)
