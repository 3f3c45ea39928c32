"""AMQP bytes for tests, written by another implementation of the protocol (pamqp), and a reader that keeps notes."""

from __future__ import annotations

from pamqp import body, commands, frame, header, heartbeat

from pytest_chaos.wire.amqp.reader import AmqpReader

GREETING = b"AMQP\0\0\x09\x01"
HEARTBEAT = frame.marshal(heartbeat.Heartbeat(), 0)
Basic, Queue, Exchange, Connection, Channel, Confirm, Tx = (
    commands.Basic, commands.Queue, commands.Exchange, commands.Connection, commands.Channel, commands.Confirm,
    commands.Tx,
)  # fmt: skip


def method(command, channel=1):
    return frame.marshal(command, channel)


def content(data=b"{}", channel=1, cut=0, **properties):
    """A header frame and the body's frames, each of up to ``cut`` bytes."""
    head = header.ContentHeader(body_size=len(data), properties=Basic.Properties(**properties))
    size = cut or len(data) or 1
    parts = [frame.marshal(body.ContentBody(data[at : at + size]), channel) for at in range(0, len(data), size)]
    return [frame.marshal(head, channel), *parts]


def publish(exchange="events", key="user.created", data=b"{}", channel=1, cut=0, **properties):
    said = Basic.Publish(exchange=exchange, routing_key=key)
    return b"".join([method(said, channel), *content(data, channel, cut, **properties)])


def deliver(tag, consumer="c", data=b"{}", channel=1, **properties):
    said = Basic.Deliver(consumer_tag=consumer, delivery_tag=tag, exchange="events", routing_key="user.created")
    return b"".join([method(said, channel), *content(data, channel, **properties)])


def opened(frame_max=131_072):
    """The set-up of a connection and of channel 1: what each side says, in order."""
    return [
        ("caller", GREETING),
        ("callee", method(Connection.Start(), 0)),
        ("caller", method(Connection.StartOk(mechanism="PLAIN", response="\0guest\0secret"), 0)),
        ("callee", method(Connection.Tune(channel_max=2047, frame_max=frame_max, heartbeat=60), 0)),
        ("caller", method(Connection.TuneOk(channel_max=2047, frame_max=frame_max, heartbeat=60), 0)),
        ("caller", method(Connection.Open(virtual_host="/"), 0)),
        ("callee", method(Connection.OpenOk(), 0)),
        ("caller", method(Channel.Open())),
        ("callee", method(Channel.OpenOk())),
    ]


class Talk:
    """A reader past the set-up of its connection; what it is told and what it gives."""

    def __init__(self, *, confirms=False, consumers=(), **kwargs):
        self.reader = AmqpReader(kwargs.get("identify"))
        for side, data in opened(kwargs.get("frame_max", 131_072)):
            self.say(side, data)
        if confirms:
            self.caller(method(Confirm.Select()))
            self.callee(method(Confirm.SelectOk()))
        for tag, queue, no_ack in consumers:
            self.caller(method(Basic.Consume(queue=queue, consumer_tag=tag, no_ack=no_ack)))
            self.callee(method(Basic.ConsumeOk(consumer_tag=tag)))

    def say(self, side, data):
        return self.reader.from_caller(data) if side == "caller" else self.reader.from_callee(data)

    def caller(self, data):
        return self.reader.from_caller(data)

    def callee(self, data):
        return self.reader.from_callee(data)

    def begun(self, side, data):
        """The one call that bytes begin."""
        (call,) = [frame.begins for frame in self.say(side, data) if frame.begins]
        return call
