"""Which partitions a Kafka has, and how far each consumer group is on them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

Place = tuple[str, int]
"""Topic and partition."""


class Admin:
    """Asks what there is; used from one event loop. ``library`` is aiokafka, which is an extra.

    The offsets are asked for by a consumer that reads nothing: aiokafka's administration client cannot, and on a
    connection that also fetches a broker answers the question only when the fetch has been answered.
    """

    def __init__(self, library: Any, direct: str, request_timeout_ms: int) -> None:
        from aiokafka.admin import AIOKafkaAdminClient  # noqa: PLC0415 - an extra

        self._client: Any = AIOKafkaAdminClient(bootstrap_servers=direct, request_timeout_ms=request_timeout_ms)
        self._offsets: Any = library.AIOKafkaConsumer(
            bootstrap_servers=direct, request_timeout_ms=request_timeout_ms, group_id=None, enable_auto_commit=False
        )
        self._partition: Any = library.TopicPartition
        self.clients = (self._client, self._offsets)
        """What holds its connections."""

    async def start(self) -> None:
        """Connect."""
        await self._client.start()
        await self._offsets.start()

    async def close(self) -> None:
        """Disconnect; raise what went wrong in it when all was tried."""
        for wrong in await asyncio.gather(self._client.close(), self._offsets.stop(), return_exceptions=True):
            if isinstance(wrong, BaseException):
                raise wrong

    async def ends(self, places: Collection[Place]) -> dict[Place, int]:
        """Give the offset behind the last record of each place."""
        found = await self._offsets.end_offsets([self._partition(*place) for place in places])
        return {(where.topic, where.partition): offset for where, offset in found.items()}

    async def places(self) -> list[Place]:
        """List the partitions of every topic that is not internal."""
        return [
            (topic["topic"], partition["partition"])
            for topic in await self._client.describe_topics()
            if not topic["is_internal"] and not topic["topic"].startswith("__")
            for partition in topic["partitions"]
        ]

    async def committed(self, places: Collection[Place]) -> dict[str, dict[Place, int | None]]:
        """Give, per group, the next offset on each of ``places``; None where assigned but never committed."""
        groups = sorted({row[0] for row in await self._client.list_consumer_groups() if row[1] in ("consumer", "")})
        if not groups:
            return {}
        found: dict[str, dict[Place, int | None]] = {group: {} for group in groups}
        for group in groups:
            # One at a time: aiokafka reads an answer about several groups by an older layout, and fails.
            (answer,) = await self._client.describe_consumer_groups([group])
            members = [member for row in answer.groups for member in row[5]]
            assigned = [place for member in members for place in _assigned(member[4])]
            found[group].update({place: None for place in assigned if place in places})
            offsets = await self._client.list_consumer_group_offsets(group)
            for where, meta in offsets.items():
                if meta.offset >= 0 and (where.topic, where.partition) in places:
                    found[group][where.topic, where.partition] = meta.offset
        return found


def _assigned(raw: bytes) -> list[Place]:
    from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment  # noqa: PLC0415 - an extra

    if not raw:
        return []
    decoded = ConsumerProtocolMemberAssignment.decode(raw)
    return [(topic, number) for topic, numbers in decoded.assignment for number in numbers]
