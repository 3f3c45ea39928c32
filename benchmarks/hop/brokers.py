"""Publishers for real brokers: frames made beforehand by the client libraries' own encoders, answers counted."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from pamqp import body, commands, frame, header

from benchmarks.hop.clients import RING, Client, Tally, traceparent
from benchmarks.hop.nodes import TOPIC

_MESSAGE = b"m" * 100
_QUEUE = "bench"


class Amqp(Client):
    """Publishes to a queue that keeps the newest thousand, on a channel in confirm mode."""

    def __init__(self, requests: Sequence[bytes], depth: int, tally: Tally) -> None:
        super().__init__(requests, depth, tally)
        self._in = b""
        self._published = 0
        self._open: dict[int, None] = {}
        amqp = commands
        self._replies: dict[type[frame.FrameTypes], list[tuple[frame.FrameTypes, int]]] = {
            amqp.Connection.Start: [(amqp.Connection.StartOk(mechanism="PLAIN", response="\0guest\0guest"), 0)],
            amqp.Connection.Tune: [(amqp.Connection.TuneOk(2047, 131_072, 0), 0), (amqp.Connection.Open(), 0)],
            amqp.Connection.OpenOk: [(amqp.Channel.Open(), 1)],
            amqp.Channel.OpenOk: [(amqp.Confirm.Select(), 1)],
            amqp.Confirm.SelectOk: [(amqp.Queue.Declare(queue=_QUEUE, arguments={"x-max-length": 1000}), 1)],
            amqp.Queue.DeclareOk: [],
        }

    @classmethod
    def requests(cls, connection: int) -> list[bytes]:
        found = []
        publish = frame.marshal(commands.Basic.Publish(routing_key=_QUEUE), 1)
        message = frame.marshal(body.ContentBody(_MESSAGE), 1)
        for number in range(RING):
            properties = commands.Basic.Properties(
                message_id=f"{connection}-{number}", headers={"traceparent": traceparent(connection, number)}
            )
            head = header.ContentHeader(body_size=len(_MESSAGE), properties=properties)
            found.append(publish + frame.marshal(head, 1) + message)
        return found

    def begin(self) -> None:
        self.transport.write(b"AMQP\0\0\x09\x01")

    def request(self) -> bytes:
        self._published += 1
        self._open[self._published] = None
        return super().request()

    def answers(self, data: bytes) -> int:
        data = self._in + data if self._in else data
        at, found = 0, 0
        while len(data) - at >= 7:
            end = at + 8 + int.from_bytes(data[at + 3 : at + 7], "big")
            if end > len(data):
                break
            if data[at + 7 : at + 11] == b"\0\x3c\0\x50":  # Basic.Ack
                found += self._confirmed(int.from_bytes(data[at + 11 : at + 19], "big"), multiple=bool(data[at + 19]))
            else:
                self._reply(data[at:end])
            at = end
        self._in = data[at:]
        return found

    def _confirmed(self, tag: int, *, multiple: bool) -> int:
        tags = [one for one in self._open if one <= tag] if multiple else [tag]
        for one in tags:
            del self._open[one]
        return len(tags)

    def _reply(self, raw: bytes) -> None:
        _, _, said = frame.unmarshal(raw)
        replies = self._replies.get(type(said))
        if replies is None:
            self.fail(f"rabbitmq says {said}")
        elif isinstance(said, commands.Queue.DeclareOk):
            self.go()
        else:
            self.transport.write(b"".join(frame.marshal(reply, channel) for reply, channel in replies))


class Kafka(Client):
    """Produces batches of one record, acknowledged by all replicas."""

    _version, _error_at = 7, 8 + 4 + 2 + len(TOPIC) + 4 + 4

    def __init__(self, requests: Sequence[bytes], depth: int, tally: Tally) -> None:
        super().__init__(requests, depth, tally)
        self._in = b""

    @classmethod
    def requests(cls, connection: int) -> list[bytes]:
        found = []
        topic = struct.pack(">h", len(TOPIC)) + TOPIC.encode()
        for number in range(RING):
            batch = DefaultRecordBatchBuilder(
                magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
                batch_size=16_384,
            )  # fmt: skip
            trace = ("traceparent", traceparent(connection, number).encode())
            batch.append(0, timestamp=1_700_000_000_000, key=b"k", value=_MESSAGE, headers=[trace])
            records = bytes(batch.build())
            head = struct.pack(">hhih", 0, cls._version, number, 4) + b"load"
            about = struct.pack(">hhi", -1, -1, 30_000) + struct.pack(">i", 1) + topic + struct.pack(">ii", 1, 0)
            asked = head + about + struct.pack(">i", len(records)) + records
            found.append(struct.pack(">i", len(asked)) + asked)
        return found

    def answers(self, data: bytes) -> int:
        data = self._in + data if self._in else data
        at, found = 0, 0
        while len(data) - at >= 4:
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if end > len(data):
                break
            error = data[at + self._error_at : at + self._error_at + 2]
            if error != b"\0\0":
                self.fail(f"kafka says error {error.hex()}")
            found += 1
            at = end
        self._in = data[at:]
        return found
