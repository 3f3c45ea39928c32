"""The queue is exclusive and named by the server: it goes with its consumer, and with it what is published meanwhile.

Service: email, and users, which neither declares the queue nor asks whether any takes its event. Provoked by: email
killed or stopped, users created, email started again: their mails never come. (The durable queue is deleted at the
start, as if it had never been.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services_under_test.defects import Defect

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractQueue


async def _exclusive(channel: AbstractChannel) -> AbstractQueue:
    from services_under_test.common import amqp  # noqa: PLC0415 - a broker's client is loaded by those who use it

    await channel.queue_delete(amqp.QUEUE)
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(await amqp.declare_exchange(channel), amqp.ROUTING_KEY)
    return queue


async def _nothing(channel: AbstractChannel) -> None:
    del channel


DEFECT = Defect(
    id="RMQ-4",
    service="email,users",
    rules=("D9",),
    scenario="email down while POST /api/users, then started",
    also={
        "D1": "confirmed messages are neither processed nor dead-lettered",
        "D8": "after a cut the consumer comes back with an empty queue",
        "D7": "the row is committed, its event published, and its effect never comes",
    },
    replaces={"email_queue": _exclusive, "publishers_queue": _nothing, "mandatory": False},
)
