"""Which partitions a Kafka has, and how far each consumer group is on them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

Place = tuple[str, int]
"""Topic and partition."""


class Admin:
    """Asks what there is, with an administration client; used from one event loop."""

    def __init__(self, direct: str, request_timeout_ms: int) -> None:
        from aiokafka.admin import AIOKafkaAdminClient  # noqa: PLC0415 - an extra

        self.client: Any = AIOKafkaAdminClient(bootstrap_servers=direct, request_timeout_ms=request_timeout_ms)

    async def start(self) -> None:
        """Connect."""
        await self.client.start()

    async def close(self) -> None:
        """Disconnect."""
        await self.client.close()

    async def places(self) -> list[Place]:
        """List the partitions of every topic that is not internal."""
        return [
            (topic["topic"], partition["partition"])
            for topic in await self.client.describe_topics()
            if not topic["is_internal"] and not topic["topic"].startswith("__")
            for partition in topic["partitions"]
        ]

    async def committed(self, places: Collection[Place]) -> dict[str, dict[Place, int | None]]:
        """Give, per group, the next offset on each of ``places``; None where assigned but never committed."""
        groups = sorted({row[0] for row in await self.client.list_consumer_groups() if row[1] in ("consumer", "")})
        if not groups:
            return {}
        found: dict[str, dict[Place, int | None]] = {group: {} for group in groups}
        for group in groups:
            # One at a time: aiokafka reads an answer about several groups by an older layout, and fails.
            (answer,) = await self.client.describe_consumer_groups([group])
            members = [member for row in answer.groups for member in row[5]]
            assigned = [place for member in members for place in _assigned(member[4])]
            found[group].update({place: None for place in assigned if place in places})
            offsets = await self.client.list_consumer_group_offsets(group)
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
