"""The two ways in which users tells the others.

RabbitMQ for what must reach a subscriber, a Redis stream for activity.
"""

from __future__ import annotations

from collections.abc import Mapping

from services_under_test.common.background import load
from services_under_test.common.outbox import Outbox
from services_under_test.common.runner import Host

AMQP = "amqp"
REDIS = "redis"
STREAM = "user.activity"


def start_relays(host: Host, outbox: Outbox, urls: Mapping[str, str]) -> None:
    """Start a relay for each broker that has an address; one that is away is tried again until it is there."""

    async def amqp_relay() -> None:
        amqp = await load("services_under_test.common.amqp")
        host.telemetry.broker("aio_pika")
        async with amqp.Publisher(urls[AMQP], host.strategies) as publisher:
            await outbox.relay(AMQP, publisher.publish)

    async def redis_relay() -> None:
        streams = await load("services_under_test.common.redis_streams")
        host.telemetry.broker("redis")
        async with streams.Publisher(urls[REDIS], STREAM, host.strategies, host.telemetry) as publisher:
            await outbox.relay(REDIS, publisher.publish)

    if urls.get(AMQP):
        host.background.keep("amqp relay", amqp_relay)
    if urls.get(REDIS):
        host.background.keep("redis relay", redis_relay)
