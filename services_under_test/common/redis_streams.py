"""Redis Streams as the shop uses them.

Appended by an outbox, read by a consumer group that takes up again what was left pending.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from services_under_test.common import correlation
from services_under_test.common.outbox import Event
from services_under_test.common.strategies import Strategies
from services_under_test.common.telemetry import Telemetry

log = logging.getLogger(__name__)
_TIMEOUT_S = 5.0
_BLOCK_MS = 1_000
_BATCH = 20

Fields = Mapping[str, str]
Handle = Callable[[str, Fields], Awaitable[bool]]


def connect(url: str) -> Redis:
    """Make a client that repeats nothing by itself: an append that got no answer is the outbox's to repeat."""
    return Redis.from_url(
        url,
        decode_responses=True,
        # An entry that is no UTF-8 is one that cannot be read; it must not break the reading of those behind it.
        encoding_errors="backslashreplace",
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


class Publisher:
    """Appends events to one stream."""

    def __init__(self, url: str, stream: str, strategies: Strategies, telemetry: Telemetry) -> None:
        self._client = connect(url)
        self._stream = stream
        self._strategies = strategies
        self._telemetry = telemetry

    async def __aenter__(self) -> Self:
        """Connect; raises RedisError when it is away."""
        await self._client.ping()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def publish(self, event: Event) -> None:
        """Append one event; an answer that is lost makes it come twice, under one event id."""
        fields: dict[Any, Any] = {
            "event_id": event.id,
            "type": event.type,
            "key": event.key,
            "payload": event.body().decode(),
        }
        if sent_id := self._strategies.outbound_correlation(event.correlation_id):
            fields["correlation_id"] = sent_id
        await self._client.xadd(self._stream, self._telemetry.carrier() | fields)


class Group:
    """One consumer of a stream's group; an entry is acknowledged after it has been handled."""

    def __init__(
        self, url: str, stream: str, *, group: str, consumer: str, claim_idle_s: float, telemetry: Telemetry
    ) -> None:
        self._client = connect(url)
        self._stream = stream
        self._group = group
        self._consumer = consumer
        self._claim_ms = int(claim_idle_s * 1000)
        self._telemetry = telemetry

    async def consume(self, handle: Handle) -> None:
        """Handle for ever: what an earlier process left pending, then what is new, now and then what another left.

        ``handle`` gives False for an entry that is to be parked: it goes to ``<stream>.parked`` in the same
        transaction as its acknowledgement.
        """
        try:
            await self._create()
            await self._own_pending(handle)
            while True:
                await self._abandoned(handle)
                for entry_id, fields in await self._read(">"):
                    await self._one(entry_id, fields, handle)
        finally:
            await self._client.aclose()

    async def _create(self) -> None:
        try:
            await self._client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except ResponseError as wrong:
            if "BUSYGROUP" not in str(wrong):
                raise

    async def _own_pending(self, handle: Handle) -> None:
        last = "0"
        while entries := await self._read(last):
            for entry_id, fields in entries:
                await self._one(entry_id, fields, handle)
                last = entry_id

    async def _abandoned(self, handle: Handle) -> None:
        with self._telemetry.quiet():
            claimed = await self._client.xautoclaim(
                self._stream, self._group, self._consumer, min_idle_time=self._claim_ms, count=_BATCH
            )
        for entry_id, fields in claimed[1]:
            log.info("entry %s of another consumer is taken over", entry_id)
            await self._one(entry_id, fields, handle)

    async def _read(self, after: str) -> list[tuple[str, Fields]]:
        with self._telemetry.quiet():
            answer: Any = await self._client.xreadgroup(
                self._group, self._consumer, {self._stream: after}, count=_BATCH, block=_BLOCK_MS
            )
        streams = answer.items() if isinstance(answer, dict) else answer or ()
        found: list[tuple[str, Fields]] = []
        for _, entries in streams:
            # The newer protocol wraps a stream's entries in one more list.
            found += entries[0] if entries and isinstance(entries[0], list) else entries
        return found

    async def _one(self, entry_id: str, fields: Fields | None, handle: Handle) -> None:
        if fields is None:
            await self._client.xack(self._stream, self._group, entry_id)
            return
        with correlation.bound(correlation.accept([fields["correlation_id"]] if "correlation_id" in fields else [])):
            keep = not await handle(entry_id, fields)
            async with self._client.pipeline(transaction=True) as both:
                if keep:
                    both.xadd(f"{self._stream}.parked", dict[Any, Any](fields))
                both.xack(self._stream, self._group, entry_id)
                await both.execute()
