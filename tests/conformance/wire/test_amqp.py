"""RabbitMQ through a link that wire reads: real broker, real client library, and what each fault is for both."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
import socket
import time
from pathlib import Path

import pytest
from pamqp import commands

from pytest_chaos.errors import PartMissing
from tests.conformance.brokers.conftest import _CLAIMS
from tests.conformance.wire.amqp_kit import LINK, Rabbit, Raw
from tests.property.test_amqp_streams import STORY, mutated

aio_pika = pytest.importorskip("aio_pika")
Basic, Confirm, Queue = commands.Basic, commands.Confirm, commands.Queue


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory):
    """A real RabbitMQ."""
    try:
        one = Rabbit(tmp_path_factory.mktemp("rabbit"))
    except PartMissing as missing:
        pytest.skip(str(missing))
    yield one
    one.close()
    while _CLAIMS:
        _CLAIMS.pop().close()


@pytest.fixture
def link(wire, rabbit):
    """The port of a link to the broker."""
    return wire.link(rabbit.upstream, name=LINK, protocol="amqp")


@pytest.fixture
def work(rabbit, request):
    """A queue of the test's own, empty; made and removed past wire."""
    name = re.sub(r"[^a-z0-9_]+", ".", f"work.{request.node.name}")
    with contextlib.closing(Raw(rabbit.port)) as straight:
        straight.ask(Queue.Declare(queue=name))
        yield name
        straight.ask(Queue.Delete(queue=name))


@pytest.fixture
def clients(link):
    """``clients(channels=1, ...)`` connects a raw client through the link."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(contextlib.closing(Raw(link, *args, **kwargs)))


@pytest.fixture
def rule(wire):
    def install(kind, operation, *, nth=(), **params):
        wire.rule(kind, operation, link=LINK, when={"nth": list(nth)} if nth else {}, **params)

    return install


def by_operation(wire, pick=""):
    found = {}
    for row in wire.rows():
        if row.get("operation", "").startswith(pick):
            found.setdefault(row["operation"], []).append(row)
    return found


def until(condition, timeout_s=8.0):
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def run(story, port, **kwargs):
    """Run ``await story(connection)`` with aio-pika through a port."""

    async def connected():
        connection = await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{port}/", timeout=10)
        async with connection:
            return await asyncio.wait_for(story(connection), 20)

    return asyncio.run(connected())


# what passes


def test_a_message_is_published_confirmed_delivered_and_acknowledged(wire, link, rabbit, work):
    async def story(connection):
        channel = await connection.channel()
        queue = await channel.get_queue(work)
        message = aio_pika.Message(b'{"id": 1}', message_id="m-1", correlation_id="c-1", headers={"baggage": "a=b"})
        await channel.default_exchange.publish(message, work)
        async with queue.iterator() as messages:
            async for incoming in messages:
                async with incoming.process():
                    return incoming.body
            return None

    assert run(story, link) == b'{"id": 1}'
    rabbit.until(work)
    found = by_operation(wire)
    (published,), (delivered,) = found[f"publish amq.default {work}"], found[f"deliver {work}"]
    for row in (published, delivered):
        assert row["protocol"] == "amqp"
        assert row["started_ns"] <= row["sent_ns"] <= row["forwarded_ns"] <= row["answered_ns"] <= row["ended_ns"]
        assert row["request_headers"] == {"baggage": "a=b", "x-correlation-id": "c-1", "message-id": "m-1"}
        assert row["body_hash"] == hashlib.blake2b(b'{"id": 1}', digest_size=8).hexdigest()
        assert "error" not in row
    assert published["answered_ns"] <= delivered["ended_ns"]
    said = {f"{word} {work}" for word in ("declare", "publish amq.default", "consume", "deliver", "cancel")}
    assert set(found) == said, "set-up, heartbeats and the delivery's ack are nobody's operations"
    until(lambda: wire.do("stats")["open"] == 0)
    assert wire.do("stats")["opaque"] == {}
    assert b"guest" not in wire.spool.read_bytes()


def test_a_message_is_marked_by_what_the_link_says(wire, rabbit, work):
    identify = {"publish ** | deliver **": "json:/id"}
    port = wire.link(rabbit.upstream, name=LINK, protocol="amqp", identify=identify)
    with contextlib.closing(Raw(port)) as client:
        client.publish(work, b'{"id": "e1"}')
        client.ask(Basic.Consume(queue=work, consumer_tag="c", no_ack=True))
        client.message()
    found = by_operation(wire)
    (published,), (delivered,) = found[f"publish amq.default {work}"], found[f"deliver {work}"]
    assert published["marker"] == delivered["marker"] == "e1"
    assert "answered_ns" not in published, "without confirms nothing answers it"


def test_topology_transactions_and_polls_pass(wire, clients, rabbit, work):
    client = clients()
    exchange = f"x.{work}"
    client.ask(commands.Exchange.Declare(exchange=exchange, exchange_type="topic", auto_delete=True))
    client.ask(Queue.Bind(queue=work, exchange=exchange, routing_key="user.#"))
    client.ask(commands.Tx.Select())
    client.publish("user.created", b"1", exchange=exchange)
    rabbit.until(work)
    client.ask(commands.Tx.Commit())
    rabbit.until(work, ready=1)
    client.say(Basic.Get(queue=work))
    got, data = client.message("Basic.GetOk")
    assert data == b"1"
    client.say(Basic.Reject(got.delivery_tag, False))
    client.ask(commands.Tx.Commit())
    rabbit.until(work)
    client.say(Basic.Get(queue=work))
    client.hear("Basic.GetEmpty")
    client.ask(Queue.Unbind(queue=work, exchange=exchange, routing_key="user.#"))
    found = by_operation(wire)
    assert {name: len(rows) for name, rows in found.items()} == {
        f"exchange.declare {exchange}": 1, f"bind {work} {exchange} user.#": 1, f"publish {exchange} user.created": 1,
        "tx.commit": 2, f"get {work}": 2, f"reject {work}": 1, f"unbind {work} {exchange} user.#": 1,
    }  # fmt: skip


def test_what_no_queue_takes_comes_back(wire, link, work):
    async def story(connection):
        channel = await connection.channel(on_return_raises=True)
        with pytest.raises(aio_pika.exceptions.PublishError):
            await channel.default_exchange.publish(aio_pika.Message(b"x"), f"{work}.none", mandatory=True)

    run(story, link)
    found = by_operation(wire)
    assert len(found[f"return amq.default {work}.none"]) == len(found[f"publish amq.default {work}.none"]) == 1


def test_what_the_broker_refuses_is_recorded(wire, clients, work):
    client = clients()
    client.say(Queue.Declare(queue=f"{work}.none", passive=True))
    assert client.hear("Channel.Close").reply_code == 404
    client.say(commands.Channel.CloseOk())
    (row,) = by_operation(wire)[f"declare {work}.none"]
    assert row["response_headers"] == {"error": "NOT_FOUND"}


def test_a_message_of_8_mib_passes_as_it_is(wire, link, work):
    data = random.Random(1).randbytes(8 * 2**20)

    async def story(connection):
        channel = await connection.channel()
        await channel.default_exchange.publish(aio_pika.Message(data, correlation_id="c-1"), work)
        queue = await channel.get_queue(work)
        incoming = await queue.get(timeout=10, no_ack=True)
        await channel.default_exchange.publish(aio_pika.Message(incoming.body), work)
        arrived = asyncio.get_running_loop().create_future()

        async def take(message):
            arrived.set_result(message)

        await queue.consume(take, no_ack=True)
        return incoming.body == (await arrived).body == data

    assert run(story, link)
    found = by_operation(wire)
    hashed = hashlib.blake2b(data, digest_size=8).hexdigest()
    rows = found[f"publish amq.default {work}"] + found[f"deliver {work}"]
    assert [row["body_hash"] for row in rows] == [hashed] * 3
    assert all(row["request_bytes"] > len(data) for row in rows)
    assert rows[0]["request_headers"]["x-correlation-id"] == "c-1"


def test_many_channels_at_once(wire, link, rabbit, work):
    async def one(connection, number):
        channel = await connection.channel()
        for _ in range(5):
            await channel.default_exchange.publish(aio_pika.Message(b"%d" % number * 700), work)

    async def story(connection):
        await asyncio.gather(*[one(connection, number) for number in range(50)])

    run(story, link)
    rabbit.until(work, ready=250)
    rows = by_operation(wire)[f"publish amq.default {work}"]
    assert len(rows) == 250
    assert all("answered_ns" in row and "error" not in row for row in rows)
    until(lambda: wire.do("stats")["open"] == 0)


def test_many_publishes_at_once_are_each_confirmed_once(wire, clients, rabbit, work):
    client = clients()
    client.ask(Confirm.Select())
    client.publish(work, *[b"%d" % number for number in range(500)])
    confirmed = 0
    while confirmed < 500:
        ack = client.hear("Basic.Ack")
        confirmed = max(confirmed, ack.delivery_tag)
    rabbit.until(work, ready=500)
    assert len(by_operation(wire)[f"publish amq.default {work}"]) == 500


def test_a_consumer_whose_queue_goes_is_told(wire, clients, rabbit, work):
    client = clients(consumer_cancel_notify=True, capabilities={"consumer_cancel_notify": True})
    client.ask(Basic.Consume(queue=work, consumer_tag="me"))
    with contextlib.closing(Raw(rabbit.port)) as straight:
        straight.ask(Queue.Delete(queue=work))
    assert client.hear("Basic.Cancel").consumer_tag == "me"
    (row,) = until(lambda: by_operation(wire).get(f"cancel {work}"))
    assert "error" not in row


def test_a_broker_that_blocks_publishers_says_so(clients, rabbit, work):
    client = clients(capabilities={"connection.blocked": True})
    client.ask(Confirm.Select())
    rabbit.control("set_vm_memory_high_watermark", "0")
    try:
        client.publish(work, b"late")
        client.hear("Connection.Blocked", 0)
        assert client.silent() is True
    finally:
        rabbit.control("set_vm_memory_high_watermark", "0.4")
    client.hear("Connection.Unblocked", 0)
    assert client.hear("Basic.Ack").delivery_tag == 1


def test_what_is_not_amqp_is_relayed_and_counted(wire, raw, link):
    sock = raw(link)
    sock.sendall(b"AMQP\x03\1\0\0")
    assert sock.recv(100).startswith(b"AMQP")
    until(lambda: wire.do("stats")["opaque"] == {LINK: {"another version of AMQP": 1}})


def test_bad_frames_reach_the_broker_and_leave_others_alone(wire, clients, work):
    bad, good = clients(), clients()
    bad.send(b"\x01\0\1\0\0\0\1x\xff" + b"y" * 100)
    assert bad.ended()[1][:1] in ([], ["Connection.Close"])
    good.ask(Queue.Declare(queue=work))
    assert wire.do("stats")["opaque"] == {LINK: {"malformed frame": 1}}


def test_mutated_streams_end_and_leave_others_and_memory_alone(wire, raw, link, clients, rabbit, work):
    chance, good, sizes = random.Random(5), clients(), []
    good.ask(Confirm.Select())
    stream = b"".join(data for side, data in STORY if side == "caller")
    for batch in range(1, 4):
        sockets = [raw(link) for _ in range(100)]
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.sendall(mutated(stream, chance))
                sock.shutdown(socket.SHUT_WR)
        good.publish(work, b"x")
        assert good.hear("Basic.Ack").delivery_tag == batch
        for sock in sockets:  # the broker takes seconds to close what it refuses
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(65536):
                    pass
            sock.close()
        until(lambda: wire.do("stats")["open"] == 0)
        sizes.append(resident(wire))
    assert sizes[-1] - sizes[0] < 8, sizes  # MiB; cyclic garbage may wait for its collection
    assert sum(wire.do("stats")["opaque"][LINK].values()) > 100
    rabbit.until(work, ready=3)


def test_large_messages_do_not_stay_in_memory(wire, clients, rabbit, work):
    client, consumer, data = clients(), clients(), random.Random(1).randbytes(120_000)
    consumer.ask(Basic.Consume(queue=work, consumer_tag="c", no_ack=True))
    sizes = []
    for _ in range(8):
        client.large(work, [data] * 70)
        assert len(consumer.message()[1]) == 70 * len(data)
        sizes.append(resident(wire))
    assert max(sizes) - sizes[0] < 16, sizes


def resident(wire):
    """The wire process's memory in MiB."""
    status = Path(f"/proc/{wire.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


# faults: what the client sees, what the broker has


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_lost_confirm_leaves_exactly_one_message(wire, link, rabbit, work, rule, how):
    rule("answer_lost", f"publish ** {work}", nth=(1,), how=how)

    async def story(connection):
        channel = await connection.channel()
        with pytest.raises((aio_pika.exceptions.AMQPError, ConnectionError, asyncio.CancelledError)):
            await asyncio.wait_for(channel.default_exchange.publish(aio_pika.Message(b"once"), work), 5)

    with contextlib.suppress(aio_pika.exceptions.AMQPError, ConnectionError):
        run(story, link)
    rabbit.until(work, ready=1)
    (row,) = by_operation(wire)[f"publish amq.default {work}"]
    assert (row["error"], row["closed_by"], row["faults"]) == ("reset" if how == "reset" else "eof", "wire", ["f1"])
    assert "answered_ns" not in row
    assert wire.lift()["r1"]["hits"] == 1


def test_a_hung_confirm_is_the_only_one_that_is_missing(wire, link, rabbit, work, rule):
    rule("answer_lost", f"publish amq.default {work}", nth=(5,), how="hang")

    async def story(connection):
        channel = await connection.channel()
        sent = [
            asyncio.create_task(channel.default_exchange.publish(aio_pika.Message(b"%d" % number), work))
            for number in range(20)
        ]
        done, pending = await asyncio.wait(sent, timeout=2)
        await channel.default_exchange.publish(aio_pika.Message(b"after"), work)
        for task in pending:
            task.cancel()
        return len(done), len(pending)

    assert run(story, link) == (19, 1)
    rabbit.until(work, ready=21)
    lost = [row for row in by_operation(wire)[f"publish amq.default {work}"] if "error" in row]
    assert [(row["error"], row["closed_by"]) for row in lost] == [("eof", "wire")]


def test_of_one_confirm_for_many_only_one_is_lost(wire, clients, rabbit, work, rule):
    rule("answer_lost", f"publish amq.default {work}", nth=(150,), how="hang")
    client = clients()
    client.ask(Confirm.Select())
    client.publish(work, *[b"x"] * 300)
    confirmed = {client.hear("Basic.Ack").delivery_tag for _ in range(299)}
    assert confirmed == set(range(1, 301)) - {150}
    client.publish(work, b"y")
    ack = client.hear("Basic.Ack")
    assert (ack.delivery_tag, ack.multiple) == (301, False)
    assert client.silent() is True
    rabbit.until(work, ready=301)


def test_a_held_confirm_comes_when_the_rule_is_lifted(wire, clients, rabbit, work, rule):
    rule("hold", f"publish amq.default {work}", nth=(1,), at="response")
    client = clients(2)
    client.ask(Confirm.Select())
    client.ask(Confirm.Select(), 2)
    client.publish(work, b"1")
    rabbit.until(work, ready=1)
    client.publish(work, b"2", channel=2)
    assert client.hear("Basic.Ack", 2).delivery_tag == 1, "another channel does not wait"
    client.say(Queue.Declare(queue=work, passive=True))
    assert client.silent() is True, "what comes behind it on its channel waits"
    wire.lift()
    assert client.hear("Basic.Ack").delivery_tag == 1
    client.hear("Queue.DeclareOk")


def test_a_held_delivery_keeps_those_behind_it_on_its_channel(wire, clients, rabbit, work, rule):
    rule("hold", f"deliver {work}", nth=(1,), at="request")
    client = clients(2)
    client.ask(Basic.Consume(queue=work, consumer_tag="c"))
    client.publish(work, b"1", b"2", channel=2)
    rabbit.until(work, unacked=2)
    client.ask(Queue.Declare(queue=work, passive=True), 2)
    assert client.silent() is True
    wire.lift()
    assert [client.message()[1] for _ in range(2)] == [b"1", b"2"]


def test_a_late_delivery_is_late(wire, clients, work, rule):
    rule("latency", f"deliver {work}", ms=300)
    client = clients()
    client.ask(Basic.Consume(queue=work, consumer_tag="c", no_ack=True))
    client.publish(work, b"1")
    assert client.message()[1] == b"1"
    row = until(lambda: by_operation(wire).get(f"deliver {work}"))[0]
    assert row["forwarded_ns"] - row["sent_ns"] > 290e6  # the event loop's timers may be a little early


def test_dropped_at_the_third_publish_two_are_there(wire, clients, rabbit, work, rule):
    rule("reset", f"publish amq.default {work}", nth=(3,), at="request")
    client = clients()
    client.publish(work, b"1", b"2")
    rabbit.until(work, ready=2)  # a reset takes away what a busy broker has not read yet
    client.publish(work, b"3", b"4")
    assert client.ended() == (True, [])
    rabbit.until(work, ready=2)
    rows = by_operation(wire)[f"publish amq.default {work}"]
    assert [row.get("error", "") for row in rows] == ["", "", "reset", "reset"]
    assert ["forwarded_ns" in row for row in rows] == [True, True, False, False]


def consume(client, queue):
    client.ask(Basic.Qos(prefetch_count=10))
    client.ask(Basic.Consume(queue=queue, consumer_tag="c"))


def redelivered(rabbit, queue, count=1):
    """What a second consumer, past wire, is given: body and the broker's flag."""
    with contextlib.closing(Raw(rabbit.port)) as straight:
        consume(straight, queue)
        found = [straight.message() for _ in range(count)]
        straight.say(Basic.Ack(0, True))
        straight.ask(Queue.Purge(queue=queue))
    return [(data, method.redelivered) for method, data in found]


def test_dropped_at_a_delivery_it_is_delivered_again(wire, clients, rabbit, work, rule):
    rule("reset", f"deliver {work}", nth=(2,), at="request")
    client = clients()
    client.publish(work, b"1", b"2")
    rabbit.until(work, ready=2)
    consume(client, work)
    assert client.message()[1] == b"1"
    assert client.ended() == (True, [])
    assert redelivered(rabbit, work, 2) == [(b"1", True), (b"2", True)]


@pytest.mark.parametrize(("operation", "at"), [("ack", "request"), ("deliver", "response")])
def test_dropped_at_the_second_ack_only_the_first_counts(wire, clients, rabbit, work, rule, operation, at):
    rule("reset", f"{operation} {work}", nth=(2,), at=at)
    client = clients()
    consume(client, work)
    client.publish(work, b"1", b"2", b"3")
    for _ in range(3):
        client.message()
    client.say(Basic.Ack(1))
    rabbit.until(work, unacked=2)
    client.say(Basic.Ack(3, True))
    assert client.ended() == (True, [])
    assert redelivered(rabbit, work, 2) == [(b"2", True), (b"3", True)]
    assert wire.lift()["r1"]["hits"] == 1


def test_a_lost_ack_leaves_the_message_with_the_broker(wire, clients, rabbit, work, rule):
    rule("answer_lost", f"deliver {work}", nth=(2,), how="hang")
    client = clients()
    consume(client, work)
    client.publish(work, b"1", b"2", b"3")
    for _ in range(3):
        client.message()
    client.say(Basic.Ack(0, True))
    rabbit.until(work, unacked=1)
    client.say(Basic.Ack(0, True))
    client.ask(Queue.Declare(queue=work, passive=True))
    assert rabbit.waiting(work).unacked == 1, "a later ack of all does not cover the lost one"
    client.close()
    assert redelivered(rabbit, work) == [(b"2", True)]


@pytest.mark.parametrize(("operation", "phase"), [("ack", "before_send"), ("deliver", "after_answer")])
def test_a_point_at_an_ack_holds_it_until_released(wire, clients, rabbit, work, rule, operation, phase):
    rule("point", f"{operation} {work}", nth=(1,), phase=phase)
    client = clients()
    consume(client, work)
    client.publish(work, b"1")
    client.message()
    client.say(Basic.Ack(1))
    event = wire.event()
    assert (event["event"], event["operation"]) == ("point", f"{operation} {work}")
    assert rabbit.waiting(work).unacked == 1
    wire.do("release", rule="r1", attempt=event["attempt"])
    rabbit.until(work)


def test_a_point_after_an_ack_is_reached_when_the_broker_has_it(wire, clients, rabbit, work, rule):
    rule("point", f"ack {work}", nth=(1,), phase="after_answer")
    client = clients()
    consume(client, work)
    client.publish(work, b"1", b"2")
    for tag in (1, 2):
        client.message()
        client.say(Basic.Ack(tag))
    event = wire.event()
    rabbit.until(work, unacked=1)
    assert wire.lift()["r1"]["hits"] == 1
    rabbit.until(work)
    assert event["operation"] == f"ack {work}"
    assert "answered_ns" not in by_operation(wire)[f"ack {work}"][0]


def test_a_point_at_a_publish_is_before_the_broker_has_it(wire, clients, rabbit, work, rule):
    rule("point", f"publish amq.default {work}", nth=(1,), phase="before_send")
    client = clients()
    client.ask(Confirm.Select())
    client.publish(work, b"1", b"2")
    event = wire.event()
    assert rabbit.waiting(work).ready == 0, "the second waits behind the first, else their confirms would be swapped"
    wire.do("release", rule="r1", attempt=event["attempt"])
    rabbit.until(work, ready=2)


def test_a_truncated_confirm_ends_the_connection_within_a_frame(wire, clients, rabbit, work, rule):
    rule("truncate", f"publish amq.default {work}", bytes=10)
    client = clients()
    client.ask(Confirm.Select())
    client.publish(work, b"1")
    assert client.ended() == (False, [])
    assert len(client._in) == 10
    rabbit.until(work, ready=1)


def test_closing_is_never_lost_with_a_confirm(wire, clients, rabbit, work, rule):
    rule("answer_lost", f"deliver {work} | publish **", how="hang")
    client = clients(2)
    consume(client, work)
    client.publish(work, b"1", channel=2)
    client.message()
    client.ask(commands.Channel.Close(200, "", 0, 0))
    rabbit.until(work, ready=1)
    (row,) = by_operation(wire)[f"deliver {work}"]
    assert row["response_headers"] == {"error": "closed"}


def test_rules_find_their_own_by_correlation_id(wire, clients, rabbit, work):
    wire.rule("answer_lost", "publish **", link=LINK, match={"x-correlation-id": "mine"}, how="hang")
    client = clients()
    client.ask(Confirm.Select())
    for correlation_id in ("other", "mine", "third"):
        client.publish(work, b"x", correlation_id=correlation_id)
    assert [client.hear("Basic.Ack").delivery_tag for _ in range(2)] == [1, 3]
    rabbit.until(work, ready=3)
