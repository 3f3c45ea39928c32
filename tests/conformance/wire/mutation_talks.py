"""Whole conversations about a name in each protocol that wire reads, and how one who knows it breaks them."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

from pamqp import commands

from tests.conformance.wire.mutation_grpc import GRPC
from tests.conformance.wire.mutation_kit import FRAME_RULES, LARGE, SIZES, Language, mutated, replaced, said
from tests.unit.wire import amqp_talk as amqp


def payload(chance):
    return chance.randbytes(LARGE if chance.random() < 0.01 else chance.choice([0, 1, 40, 3000]))


def amqp_talk_of(chance, name):
    """A publisher with confirms and a consumer on one connection, with gets, returns and other channels in between."""
    m, basic = amqp.method, amqp.Basic
    turns = [
        *amqp.opened(), ("caller", m(amqp.Queue.Declare(queue=name))), ("callee", m(amqp.Queue.DeclareOk(name, 0, 0))),
        ("caller", m(amqp.Confirm.Select())), ("callee", m(amqp.Confirm.SelectOk())),
        ("caller", m(basic.Consume(queue=name, consumer_tag="c"))), ("callee", m(basic.ConsumeOk("c"))),
        ("caller", m(amqp.Channel.Open(), 2)), ("callee", m(amqp.Channel.OpenOk(), 2)),
    ]  # fmt: skip
    splits = name == "broken"  # where rules are, acks of many are made into several: other bytes
    published, delivered, table = 0, 0, {"x-correlation-id": name, "deep": {"er": {"est": [1, {"a": name}]}}}
    for _ in range(chance.randint(1, 8)):
        match chance.randrange(6):
            case 0 | 1:
                many = chance.randint(1, 3) if splits else 1
                for _ in range(many):
                    data = amqp.content(payload(chance), cut=chance.choice([0, 50_000]), headers=table)
                    turns += said("caller", m(basic.Publish(exchange=name, routing_key=name)), *data)
                published += many
                turns += said("callee", m(basic.Ack(published, many > 1)))
            case 2 | 3:
                delivered += 1
                data = amqp.content(payload(chance), correlation_id=name)
                turns += said("callee", m(basic.Deliver("c", delivered, False, name, name)), *data)
                answers = [basic.Ack(delivered), basic.Nack(delivered, splits, True), basic.Reject(delivered)]
                turns += said("caller", *([m(chance.choice(answers))] if chance.random() < 0.8 else []))
            case 4:
                turns += said("caller", m(basic.Get(queue=name), 2))
                got = [m(basic.GetOk(99, False, "", name, 0), 2), *amqp.content(b"x" * 9, channel=2)]
                turns += said("callee", *(got if chance.random() < 0.5 else [m(basic.GetEmpty(), 2)]))
            case 5:
                turns += said("callee", m(basic.Return(312, "NO_ROUTE", name, name)), *amqp.content(b"y" * 20))
                turns += said("callee", amqp.HEARTBEAT)
    turns += said("caller", m(amqp.Channel.Close(200, "", 0, 0))) + said("callee", m(amqp.Channel.CloseOk()))
    return turns


def amqp_warp(chance, data):  # noqa: PLR0911 - one for each way
    """Another length, channel, kind, method, end; a table in tables."""
    if len(data) < 12:
        return mutated(chance, data)
    match chance.randrange(6):
        case 0:
            return replaced(data, 3, struct.pack(">I", chance.choice([*SIZES, len(data) - 7, len(data) - 9])))
        case 1:
            return replaced(data, 1, struct.pack(">H", chance.choice([0, 1, 2, 3, 9999, 65535])))
        case 2:
            return replaced(data, 0, bytes([chance.choice([0, 1, 2, 3, 4, 8, 22, 255])]))
        case 3:
            return replaced(data, 7, struct.pack(">HH", *chance.choice([*AMQP_METHODS, (60, 255), (0, 0)])))
        case 4:
            return data[:-1] + chance.randbytes(1)
        case _:
            deep = b""
            for _ in range(chance.choice([3, 500])):
                deep = b"\1aF" + struct.pack(">I", len(deep)) + deep
            head = struct.pack(">HHQHI", 60, 0, 0, 0x2000, len(deep)) + deep
            return data + struct.pack(">BHI", 2, 1, len(head)) + head + b"\xce"


AMQP_METHODS = [divmod(number, 65536) for number in commands.INDEX_MAPPING]


KAFKA = {
    name: (base64.b64decode(one["request"]), base64.b64decode(one["answer"]))
    for name, one in json.loads((Path(__file__).parents[2] / "unit/wire/kafka_exchanges.json").read_text())[
        "exchanges"
    ].items()
}
ABOUT_TOPIC = [name for name in KAFKA if name.startswith("Produce") and name.endswith("orders")]
HARMLESS = [name for name in KAFKA if name.startswith(("Heartbeat", "DescribeCluster", "Metadata"))]


def kafka_talk_of(chance, name):
    """Requests to a real Kafka and its answers, some sent before the answers to others are here."""
    turns, waiting, topic = [], [], {"broken": b"broken", "intact": b"intact"}[name]
    for correlation in range(chance.randint(2, 12)):
        asked, answered = KAFKA[chance.choice(ABOUT_TOPIC if chance.random() < 0.6 else HARMLESS)]
        asked = replaced(asked, 8, struct.pack(">i", correlation)).replace(b"orders", topic)
        turns.append(("caller", asked))
        waiting.append(("callee", replaced(answered, 4, struct.pack(">i", correlation)).replace(b"orders", topic)))
        if chance.random() < 0.6:
            turns += waiting
            waiting = []
    if chance.random() < 0.02:
        records = chance.randbytes(chance.choice([70_000, 2**20 + 5]))
        body = b"\xff\xff" + struct.pack(">hiih6siii", 1, 1000, 1, 6, topic, 1, 0, len(records)) + records
        asked = struct.pack(">hhih", 0, 3, 99, 0) + body
        turns += said("caller", struct.pack(">I", len(asked)) + asked)
        waiting.append(("callee", struct.pack(">Iiiii", 12, 99, 0, 0, 0)[: 4 + 12]))
    return turns + waiting


def kafka_warp(chance, data):
    """Another size, kind, version, correlation id; a count or a length within that is huge."""
    match chance.randrange(5):
        case 0:
            return replaced(data, 0, struct.pack(">I", chance.choice([*SIZES, len(data), max(0, len(data) - 5)])))
        case 1:
            kind = chance.choice([0, 1, 3, 17, 18, 999, -1])
            return replaced(data, 4, struct.pack(">hh", kind, chance.randint(-1, 20)))
        case 2:
            return replaced(data, 8, struct.pack(">I", chance.choice(SIZES)))
        case 3:
            at = chance.randrange(len(data) + 1)
            return replaced(data, at, struct.pack(">I", chance.choice(SIZES)))[: len(data)]
        case _:
            junk = bytes(chance.choice([8, 5000]))
            return struct.pack(">I", max(0, len(data) - 4) + len(junk)) + data[4:] + junk


def bulk(word):
    word = word if isinstance(word, bytes) else str(word).encode()
    return b"$%d\r\n%s\r\n" % (len(word), word)


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(bulk(word) for word in words)


def resp_talk_of(chance, name):
    """Commands and answers in RESP2 and RESP3: pipelines, streams, transactions, subscriptions, inline commands."""
    asks = [
        lambda: (command("SET", f"k:{name}", payload(chance)), b"+OK\r\n"),
        lambda: (command("GET", f"k:{name}"), chance.choice([b"$-1\r\n", b"_\r\n", bulk(payload(chance))])),
        lambda: (command("XADD", name, "*", "correlation_id", name, "v", payload(chance)), bulk("1-1")),
        lambda: (command("HGETALL", name), b"%1\r\n+a\r\n*2\r\n:1\r\n,1.5\r\n"),
        lambda: (command("LRANGE", name, 0, -1), b"*3\r\n*1\r\n*1\r\n#t\r\n$-1\r\n=6\r\ntxt:ab\r\n"),
        lambda: (command("INCR", name), chance.choice([b":1\r\n", b"-ERR no\r\n", b"!5\r\nERR x\r\n", b"(123\r\n"])),
        lambda: (b"PING\r\n", b"+PONG\r\n"),
        lambda: (command("HELLO", 3), b"%1\r\n+proto\r\n:3\r\n"),
        lambda: (command("SUBSCRIBE", name), b">3\r\n" + bulk("subscribe") + bulk(name) + b":1\r\n"),
        lambda: (command("MULTI") + command("SET", name, 1) + command("EXEC"), b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n"),
        lambda: (command("GET", name), b"|1\r\n+ttl\r\n:9\r\n" + bulk("v")),
    ]
    turns, waiting = [], []
    for _ in range(chance.randint(2, 12)):
        asked, answered = chance.choice(asks)()
        turns.append(("caller", asked))
        waiting.append(("callee", answered))
        if chance.random() < 0.1:
            waiting.append(("callee", b">3\r\n" + bulk("message") + bulk(name) + bulk("hi")))
        if chance.random() < 0.6:
            turns += waiting
            waiting = []
    return turns + waiting


def resp_warp(chance, data):
    """Another count or length, another type, values in values, streamed types, a line without end."""
    at = chance.choice([at for at, byte in enumerate(data) if byte in b"*$%>|"] or [0])
    match chance.randrange(6):
        case 0 | 1:
            number = chance.choice([-1, -2, 0, 2, 2**31, 2**63, 10**17, 10**40, 10_000])
            return data[: at + 1] + b"%d" % number + data[data.find(b"\r\n", at) :]
        case 2:
            return replaced(data, at, chance.choice([b"*", b"$", b"%", b">", b"~", b"|", b"?", b"-", b"#", b"\x16"]))
        case 3:
            return data[:at] + chance.choice([b"*1\r\n", b"%1\r\n", b"|1\r\n"]) * chance.choice([3, 20_000]) + data[at:]
        case 4:
            return data[:at] + chance.choice([b"$?\r\n", b"*?\r\n", b"*-1\r\n", b"$-1\r\n", b".\r\n"]) + data[at:]
        case _:
            return data[:at] + b"+" + b"x" * chance.choice([9, LARGE])


def tcp_talk_of(chance, name):
    """Bytes that are nothing known, and lines as mail servers speak them; the callee may speak first."""
    kinds = [
        [("callee", b"220 ready\r\n"), ("caller", b"helo " + name.encode() + b"\r\n"), ("callee", b"250 ok\r\n")],
        [("caller", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), ("callee", b"\x16\x03\x03" + chance.randbytes(60))],
        [("caller", b"\0" + chance.randbytes(chance.randint(0, 300))), ("callee", chance.randbytes(400))],
        [("caller", b"\1" * 9), ("callee", b"\2" * LARGE), ("caller", b"\3" * LARGE), ("callee", b"x")],
    ]
    more = [b"\4" + chance.randbytes(chance.randint(0, 200)) for _ in range(chance.randint(0, 5))]
    return [*chance.choice(kinds), *((chance.choice(["caller", "callee"]), data) for data in more)]


def tcp_warp(chance, data):
    """Still nothing known: what begins like HTTP would be another protocol."""
    return b"\0" + mutated(chance, data)


TCP_RULES = [{key: value for key, value in rule.items() if key != "operation"}
             for rule in FRAME_RULES if rule["kind"] != "answer_lost"]  # fmt: skip

LANGUAGES = {
    "amqp": Language(protocol="amqp", talk=amqp_talk_of, warp=amqp_warp, rules=FRAME_RULES),
    "kafka": Language(protocol="kafka", talk=kafka_talk_of, warp=kafka_warp, rules=FRAME_RULES),
    "resp": Language(protocol="resp", talk=resp_talk_of, warp=resp_warp, rules=FRAME_RULES),
    "tcp": Language(protocol=None, talk=tcp_talk_of, warp=tcp_warp, rules=TCP_RULES, spares=False),
    "grpc": GRPC,
}  # fmt: skip
