"""Kafka through a link that wire reads: a real broker, a real client library, and what each fault is for both.

The broker advertises an address of its own (a relay's) that is not the link's: wire rewrites it in every test, and a
client that left its link would be seen at the relay.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import random
import socket
import time
import uuid
from pathlib import Path

import pytest

from pytest_chaos.brokers.kafka import Kafka
from pytest_chaos.errors import PartMissing
from pytest_chaos.parts import kafka as part
from pytest_chaos.wire.kafka import api as kafka_api
from tests.conformance.brokers.conftest import _CLAIMS, Running
from tests.conformance.wire import kafka_schema

pytestmark = pytest.mark.timeout(90)
aiokafka = pytest.importorskip("aiokafka")
admin = pytest.importorskip("aiokafka.admin")
LINK = "orders -> events"
IDENTITY = [("X-Correlation-Id", b"c-1"), ("traceparent", b"00-t-s-01")]


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """A real Kafka of the module's own."""
    try:
        running = Running(Kafka("events"), tmp_path_factory.mktemp("kafka"))
    except PartMissing as missing:
        pytest.skip(str(missing))
    running.start()
    yield running
    running.close()
    while _CLAIMS:
        _CLAIMS.pop().close()
    assert running.family() == []


@pytest.fixture
def link(wire, broker):
    """The address of a link to the broker; nobody may leave it, and everything on it must be readable."""
    relay = broker.relays["orders -> it"]
    before = relay.connections
    port = wire.link(relay.upstream, name=LINK, protocol="kafka", advertise={"*": None})
    yield f"127.0.0.1:{port}"
    assert relay.connections == before, "a client went around the link"
    assert wire.do("stats")["opaque"] == wire.do("stats")["elsewhere"] == {}


@pytest.fixture
def rule(wire):
    def install(kind, operation, **params):
        wire.rule(kind, operation, link=LINK, **params)

    return install


@pytest.fixture
def topic():
    return f"orders-{uuid.uuid4().hex[:8]}"


def run(story):
    return asyncio.run(asyncio.wait_for(story, 60))


@contextlib.asynccontextmanager
async def started(client):
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


def producer(address, **options):
    return started(aiokafka.AIOKafkaProducer(bootstrap_servers=address, **{"acks": "all", **options}))


def consumer(address, *topics, **options):
    defaults = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
    return started(aiokafka.AIOKafkaConsumer(*topics, bootstrap_servers=address, **{**defaults, **options}))


async def publish(address, topic, *values, **options):
    async with producer(address, **options) as client:
        for value in values:
            await client.send_and_wait(topic, value, headers=IDENTITY)


async def stored(broker, topic, **options):
    """Read, straight from the broker, every record that is there."""
    async with consumer(broker.plan.direct, **options) as client:
        partition = aiokafka.TopicPartition(topic, 0)
        client.assign([partition])
        end = (await client.end_offsets([partition]))[partition]
        found = []
        while await client.position(partition) < end:
            batches = await client.getmany(partition, timeout_ms=1000)
            found += [record.value for records in batches.values() for record in records]
        return found


async def committed(broker, group, topic):
    """Ask the broker how far a group is."""
    async with started_admin(broker.plan.direct) as client:
        offsets = await client.list_consumer_group_offsets(group)
        found = offsets.get(aiokafka.TopicPartition(topic, 0))
        return None if found is None else found.offset


@contextlib.asynccontextmanager
async def started_admin(address):
    client = admin.AIOKafkaAdminClient(bootstrap_servers=address)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def until(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    return value


def by_operation(wire):
    found = {}
    for row in wire.rows():
        found.setdefault(row["operation"], []).append(row)
    return found


def warm(broker, topic):
    """Create the topic, so that a rule's first Produce is not one to a topic that is being made."""
    run(publish(broker.plan.direct, topic, b"first"))


# what passes


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_produce_passes_and_is_an_attempt(wire, broker, link, topic, acks):
    warm(broker, topic)
    run(publish(link, topic, b"a", b"b", acks=acks))
    assert run(stored(broker, topic)) == [b"first", b"a", b"b"]
    rows = by_operation(wire)
    assert set(rows) == {f"Produce {topic}"}, "what the client does by itself is nobody's operation"
    for row in rows[f"Produce {topic}"]:
        assert row["protocol"] == "kafka"
        assert row["request_headers"] == {"x-correlation-id": "c-1", "traceparent": "00-t-s-01"}
        assert row["started_ns"] <= row["sent_ns"] <= row["forwarded_ns"] <= row["ended_ns"]
        assert ("answered_ns" in row) == (acks != 0)
        assert "error" not in row
        assert row["body_hash"]
    assert wire.do("stats")["open"] == 0


@pytest.mark.parametrize("codec", [None, "gzip"])
def test_headers_of_compressed_batches(wire, broker, link, topic, codec):
    run(publish(link, topic, b"a" * 1000, compression_type=codec))
    assert run(stored(broker, topic)) == [b"a" * 1000]
    assert {row["request_headers"]["x-correlation-id"] for row in by_operation(wire)[f"Produce {topic}"]} == {"c-1"}


def test_transactions_pass(wire, broker, link, topic):
    async def story():
        async with producer(link, transactional_id=f"tx-{topic}") as client:
            async with client.transaction():
                await client.send_and_wait(topic, b"kept")
            with contextlib.suppress(ZeroDivisionError):
                async with client.transaction():
                    await client.send_and_wait(topic, b"dropped")
                    raise ZeroDivisionError
            async with client.transaction():
                await client.send_and_wait(topic, b"kept too")
                partition = aiokafka.TopicPartition(topic, 0)
                await client.send_offsets_to_transaction({partition: 5}, f"g-{topic}")

    run(story())
    assert run(stored(broker, topic, isolation_level="read_committed")) == [b"kept", b"kept too"]
    assert run(committed(broker, f"g-{topic}", topic)) == 5
    rows = by_operation(wire)
    assert len(rows[f"EndTxn tx-{topic}"]) == 3
    assert {f"AddPartitionsToTxn tx-{topic}", f"AddOffsetsToTxn tx-{topic}", f"TxnOffsetCommit g-{topic}"} <= set(rows)


def test_a_group_rebalances_reads_and_commits(wire, broker, link, topic):
    group = f"g-{topic}"

    async def story():
        async with started_admin(link) as client:
            await client.create_topics([admin.NewTopic(topic, 2, 1)])
        async with producer(link) as client:
            for number in range(6):
                await client.send_and_wait(topic, b"%d" % number, partition=number % 2)
        async with consumer(link, topic, group_id=group) as first, consumer(link, topic, group_id=group) as second:
            await until(lambda: len(first.assignment()) == len(second.assignment()) == 1, 30)
            found = []
            for member in (first, second):
                found += [(await asyncio.wait_for(member.getone(), 10)).value for _ in range(3)]
                await member.commit()
            return sorted(found)

    assert run(story()) == [b"%d" % number for number in range(6)]
    assert run(committed(broker, group, topic)) == 3
    rows = by_operation(wire)
    assert len(rows[f"OffsetCommit {group}"]) >= 2
    assert f"CreateTopics {topic}" in rows
    assert not any(name.startswith(("Fetch", "JoinGroup", "Heartbeat", "Metadata")) for name in rows)


def test_an_administrator_can_do_its_work(wire, broker, link, topic):
    async def story():
        async with started_admin(link) as client:
            await client.create_topics([admin.NewTopic(topic, 3, 1, topic_configs={"max.message.bytes": "1234"})])
            resource = admin.config_resource.ConfigResource(admin.config_resource.ConfigResourceType.TOPIC, topic)
            (configs,) = await client.describe_configs([resource])
            (described,) = await client.describe_topics([topic])
            cluster = await client.describe_cluster()
            await client.list_consumer_groups()
            await client.delete_topics([topic])
            return str(configs), len(described["partitions"]), cluster["brokers"]

    configs, partitions, brokers = run(story())
    assert "1234" in configs
    assert partitions == 3
    assert [f"{one['host']}:{one['port']}" for one in brokers] == [link]
    assert {f"CreateTopics {topic}", f"DescribeConfigs {topic}", f"DeleteTopics {topic}"} <= set(by_operation(wire))


def test_messages_of_12_mib_pass_both_ways_with_flat_memory(wire, broker, link, topic):
    size = 12 * 2**20
    value = random.Random(4).randbytes(size)
    limit = {"max_partition_fetch_bytes": 2 * size, "fetch_max_bytes": 4 * size}

    async def story():
        async with started_admin(broker.plan.direct) as client:
            await client.create_topics(
                [admin.NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": str(2 * size)})]
            )
        await publish(link, topic, b"warm")
        before = resident(wire)
        await publish(link, topic, *[value] * 4, max_request_size=2 * size)
        async with consumer(link, topic, **limit) as client:
            assert (await asyncio.wait_for(client.getone(), 10)).value == b"warm"
            for _ in range(4):
                assert (await asyncio.wait_for(client.getone(), 20)).value == value
        return resident(wire) - before

    assert run(story()) < 16_000, "kB more at the peak, for 12 MiB each"
    rows = by_operation(wire)[f"Produce {topic}"]
    assert max(row["request_bytes"] for row in rows) > size
    assert all(row["body_hash"] for row in rows)


def resident(wire):
    """Give the most memory that wire ever had, in kB."""
    status = Path(f"/proc/{wire.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def test_what_the_broker_refuses_is_named(wire, broker, link, topic):
    async def story():
        async with started_admin(broker.plan.direct) as client:
            await client.create_topics([admin.NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": "500"})])
        with pytest.raises(aiokafka.errors.MessageSizeTooLargeError):
            await publish(link, topic, b"x" * 900)

    run(story())
    assert run(stored(broker, topic)) == []
    (row,) = by_operation(wire)[f"Produce {topic}"]
    assert row["response_headers"] == {"error": "MESSAGE_TOO_LARGE"}


def test_topics_that_are_named_by_id_have_the_names_that_another_connection_heard(wire, broker, raw, link, topic):
    """The newest versions of the installed Kafka, as its own clients speak them."""
    warm(broker, topic)
    requests, answers = kafka_schema.load(Path(part.find(os.environ).require()))
    port = int(link.rpartition(":")[2])

    def ask(sock, name, **value):
        asked = requests[kafka_api.NAMES.index(name)]
        version, made_up = asked.valid[-1], asked.made_up(asked.valid[-1], random.Random(1))
        sock.sendall(kafka_schema.request(asked, version, {**made_up, **value}, correlation=3))
        with sock.makefile("rb") as stream:
            body = stream.read(int.from_bytes(stream.read(4), "big"))
        assert body[:5] == b"\0\0\0\3\0"
        return answers[asked.key].read(version, body[5:])

    told = ask(raw(port), "Metadata", Topics=[{"TopicId": bytes(16), "Name": topic}])
    assert [f"{one['Host']}:{one['Port']}" for one in told["Brokers"]] == [link]
    topic_id = told["Topics"][0]["TopicId"]
    other = raw(port)
    wrong = {"TransactionalId": None, "Acks": -1, "TopicData": [{"TopicId": topic_id, "PartitionData": [
        {"Index": 7, "Records": b""}]}]}  # fmt: skip
    (answered,) = ask(other, "Produce", **wrong)["Responses"]
    assert answered["PartitionResponses"][0]["ErrorCode"]
    (row,) = by_operation(wire)[f"Produce {topic}"]
    code = answered["PartitionResponses"][0]["ErrorCode"]
    assert row["response_headers"] == {"error": kafka_api.error_name(code)}


# what is done to it


def test_a_lost_produce_answer_makes_a_duplicate_without_idempotence(wire, broker, link, topic, rule):
    warm(broker, topic)
    rule("answer_lost", f"Produce {topic}", when={"nth": [1]})
    run(publish(link, topic, b"paid"))
    assert run(stored(broker, topic)) == [b"first", b"paid", b"paid"]
    rows = by_operation(wire)[f"Produce {topic}"]
    assert [(row.get("error"), row.get("closed_by"), row.get("faults")) for row in rows] == [
        ("reset", "wire", ["f1"]),
        (None, None, None),
    ]
    assert wire.lift()["r1"]["hits"] == 1


def test_a_lost_produce_answer_makes_none_with_idempotence(wire, broker, link, topic, rule):
    warm(broker, topic)
    rule("answer_lost", f"Produce {topic}", when={"nth": [1]})
    run(publish(link, topic, b"paid", enable_idempotence=True))
    assert run(stored(broker, topic)) == [b"first", b"paid"]
    first, second = by_operation(wire)[f"Produce {topic}"]
    assert first["body_hash"] == second["body_hash"], "a client's retry is the same batch"
    assert wire.lift()["r1"]["hits"] == 1


def test_a_produce_answer_that_hangs_times_out_after_the_work(wire, broker, link, topic, rule):
    warm(broker, topic)
    rule("answer_lost", f"Produce {topic}", how="hang")

    async def story():
        with pytest.raises(aiokafka.errors.RequestTimedOutError):
            await publish(link, topic, b"paid", request_timeout_ms=1000)

    run(story())
    assert run(stored(broker, topic)) == [b"first", b"paid"]
    (row,) = by_operation(wire)[f"Produce {topic}"]
    assert (row["error"], row["closed_by"]) == ("eof", "caller")
    assert "forwarded_ns" in row
    assert "answered_ns" not in row


def test_a_connection_dropped_at_the_second_produce_leaves_no_record_of_it(wire, broker, link, topic, rule):
    warm(broker, topic)
    rule("reset", f"Produce {topic}", at="request", when={"nth": [2]})
    run(publish(link, topic, b"a", b"b"))
    assert run(stored(broker, topic)) == [b"first", b"a", b"b"]
    rows = by_operation(wire)[f"Produce {topic}"]
    assert [row.get("error") for row in rows] == [None, "reset", None]
    assert "forwarded_ns" not in rows[1]


def test_fetch_can_be_delayed(wire, broker, link, topic, rule):
    warm(broker, topic)

    async def story():
        async with consumer(link, topic) as client:
            await asyncio.wait_for(client.getone(), 10)
            rule("latency", "Fetch **", ms=700)
            await publish(broker.plan.direct, topic, b"late")
            # the Fetch that waited at the broker when the rule came is not one that it delays
            await asyncio.wait_for(client.getone(), 10)
            await publish(broker.plan.direct, topic, b"later")
            return (await asyncio.wait_for(client.getone(), 10)).value

    assert run(story()) == b"later"
    rows = [row for row in by_operation(wire)[f"Fetch {topic}"] if "forwarded_ns" in row]
    assert rows
    assert min(row["forwarded_ns"] - row["sent_ns"] for row in rows) > 0.5e9  # timers may be a little early


def test_an_offset_commit_that_is_dropped_is_not_at_the_broker(wire, broker, link, topic, rule):
    warm(broker, topic)
    group = f"g-{topic}"

    async def story():
        async with consumer(link, topic, group_id=group) as client:
            await asyncio.wait_for(client.getone(), 20)
            rule("reset", f"OffsetCommit {group}", at="request")
            commit = asyncio.create_task(client.commit())
            await until(lambda: by_operation(wire).get(f"OffsetCommit {group}"))
            between = await committed(broker, group, topic)
            wire.lift()
            with contextlib.suppress(aiokafka.errors.KafkaError):
                await asyncio.wait_for(commit, 20)
            await client.commit()
            return between

    assert run(story()) is None
    assert run(committed(broker, group, topic)) == 1


def test_a_lost_answer_of_an_offset_commit_leaves_it_done(wire, broker, link, topic, rule):
    warm(broker, topic)
    group = f"g-{topic}"

    async def story():
        async with consumer(link, topic, group_id=group) as client:
            await asyncio.wait_for(client.getone(), 20)
            rule("answer_lost", f"OffsetCommit {group}", when={"nth": [1]})
            commit = asyncio.create_task(client.commit())
            await until(lambda: by_operation(wire).get(f"OffsetCommit {group}"))
            between = await committed(broker, group, topic)
            with contextlib.suppress(aiokafka.errors.KafkaError):
                await asyncio.wait_for(commit, 20)
            return between

    assert run(story()) == 1
    assert wire.lift()["r1"]["hits"] == 1


def test_a_held_join_keeps_a_member_out_until_it_is_lifted(wire, broker, link, topic, rule):
    warm(broker, topic)
    group = f"g-{topic}"

    async def story():
        rule("hold", f"JoinGroup {group}", ms=None, at="request")
        client = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=link, group_id=group, auto_offset_reset="earliest")
        start = asyncio.create_task(client.start())
        await until(lambda: wire.do("rules")["rules"][0]["hits"])
        done, _ = await asyncio.wait([start], timeout=0.5)
        wire.lift()
        await start
        value = (await asyncio.wait_for(client.getone(), 20)).value
        await client.stop()
        return bool(done), value

    assert run(story()) == (False, b"first")
    assert by_operation(wire)[f"JoinGroup {group}"][0]["faults"] == ["f1"]


def test_a_point_before_an_offset_commit_holds_it_until_released(wire, broker, link, topic, rule):
    warm(broker, topic)
    group = f"g-{topic}"

    async def story():
        async with consumer(link, topic, group_id=group) as client:
            await asyncio.wait_for(client.getone(), 20)
            rule("point", f"OffsetCommit {group}", phase="before_send")
            commit = asyncio.create_task(client.commit())
            event = await asyncio.to_thread(wire.event)
            between = await committed(broker, group, topic)
            wire.do("release", rule=event["rule"], attempt=event["attempt"])
            await asyncio.wait_for(commit, 20)
            return event["operation"], between

    assert run(story()) == (f"OffsetCommit {group}", None)
    assert run(committed(broker, group, topic)) == 1


def test_a_rule_without_an_operation_leaves_polls_and_handshakes_alone(wire, broker, link, topic, rule):
    warm(broker, topic)
    rule("answer_lost", "", when={"nth": [1]})
    run(publish(link, topic, b"a", enable_idempotence=True))
    rows = by_operation(wire)
    assert [row.get("faults") for row in rows[f"Produce {topic}"]] == [["f1"], None]
    assert set(rows) == {f"Produce {topic}"}


# what is none


def test_tls_and_noise_are_relayed_and_counted_and_hurt_nobody(wire, broker, raw, topic):
    upstream = broker.relays["orders -> it"].upstream
    port = wire.link(upstream, name=LINK, protocol="kafka", advertise={"*": None})
    dice = random.Random(9)
    starts = [b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x20\0\0\0\3\0\0\0\1", b"\xff" * 4, b""]
    for number in range(60):
        sock = raw(port)
        with contextlib.suppress(OSError):
            sock.sendall(starts[number % len(starts)] + dice.randbytes(dice.randrange(1, 3000)))
            if number % 3:
                sock.shutdown(socket.SHUT_WR)
        if number % 2:
            sock.close()
    run(publish(f"127.0.0.1:{port}", topic, b"well"))
    assert run(stored(broker, topic)) == [b"well"]
    opaque = wire.do("stats")["opaque"][LINK]
    assert opaque["TLS"] == 12
    assert opaque["no Kafka request or answer"] >= 24


def ends(port, data):
    """Send a stream and FIN; give whether the other end ends as well: of some streams Kafka keeps its half."""
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), 3) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
        except TimeoutError:
            return False
    return True


def test_two_thousand_mutated_streams_hurt_nobody(wire, broker, topic):
    captured = json.loads(Path(__file__).parents[2].joinpath("unit/wire/kafka_exchanges.json").read_text())
    requests = [base64.b64decode(one["request"]) for one in captured["exchanges"].values()]
    good = base64.b64decode(captured["exchanges"]["DescribeCluster 2"]["request"])
    upstream = broker.relays["orders -> it"].upstream
    port = wire.link(upstream, name=LINK, protocol="kafka", advertise={"*": None})
    dice, memory, kept = random.Random(8), [], 0
    with socket.create_connection(("127.0.0.1", port), 10) as well, well.makefile("rb") as answers:
        for number in range(2000):
            broken = bytearray(b"".join(dice.choices(requests, k=4)))
            for _ in range(dice.randrange(1, 4)):
                at = dice.randrange(len(broken))
                broken[at : at + dice.randrange(4)] = dice.randbytes(dice.randrange(6))
            if not ends(port, broken):
                assert not ends(int(upstream.rpartition(":")[2]), broken), "the broker would have ended it"
                kept += 1
            if number % 20 == 0:
                well.sendall(good)
                answer = answers.read(int.from_bytes(answers.read(4), "big"))
                assert b"127.0.0.1" + port.to_bytes(4, "big") in answer
            if number in {999, 1999}:
                memory.append(int(Path(f"/proc/{wire.process.pid}/statm").read_text().split()[1]))
    run(until(lambda: wire.do("stats")["connections"] == kept))
    assert kept < 10
    assert wire.do("stats")["open"] <= kept
    assert memory[1] < memory[0] * 1.1
    assert len(wire.rows()) > 1000
    reasons = {"TLS", "no Kafka request", "no Kafka request or answer", "an answer that nobody asked for"}
    assert set(wire.do("stats")["opaque"][LINK]) <= reasons


def test_who_is_told_what_can_be_changed_and_nonsense_is_refused(wire, broker):
    relay = broker.relays["orders -> it"]
    port = wire.link(relay.upstream, name=LINK, protocol="kafka")

    async def told():
        async with producer(f"127.0.0.1:{port}") as client:
            return {f"{node.host}:{node.port}" for node in client.client.cluster.brokers()}

    assert run(told()) == {relay.address}, "nothing is rewritten unless it is asked for"
    assert wire.do("stats")["elsewhere"][LINK][relay.address] >= 1
    change = {"name": LINK, "upstream": relay.upstream}
    wire.do("set_upstream", **change, advertise={"1": f"localhost:{port}"})
    assert run(told()) == {f"localhost:{port}"}
    assert wire.do("stats")["elsewhere"] == {}
    wire.do("set_upstream", **change)
    assert run(told()) == {f"localhost:{port}"}, "what is not said stays"
    for bad, said in (({"1": "x"}, "must be host:port"), ({"a": None}, "must be a node id"), ([], "must be an object")):
        answer = wire.ask("set_upstream", **change, advertise=bad)
        assert not answer["ok"]
        assert said in answer["error"]
    assert run(told()) == {f"localhost:{port}"}
    wire.do("set_upstream", **change, advertise=None)
    assert run(told()) == {relay.address}
    answer = wire.ask("open_link", name="a -> b", listen_host="127.0.0.1", upstream=None, advertise={"*": None})
    assert "must be null where protocol is not kafka" in answer["error"]
    assert "a -> b" not in wire.do("rules")["links"]
