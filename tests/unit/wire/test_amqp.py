"""What AMQP's methods mean: which call each begins, which it answers, under which name."""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib

import pytest

from pytest_chaos.wire.amqp.frames import CONTENT_LIMIT
from pytest_chaos.wire.framed.reader import BadFrame
from tests.unit.wire.amqp_talk import (
    HEARTBEAT,
    Basic,
    Channel,
    Confirm,
    Connection,
    Exchange,
    Queue,
    Talk,
    Tx,
    content,
    deliver,
    method,
    opened,
    publish,
)


def answered(frames):
    return [(frame.answers, frame.error) for frame in frames if frame.answers]


def test_a_publish_is_named_by_exchange_and_key_and_not_answered_without_confirms():
    call = Talk().begun("caller", publish("events", "user.created", b'{"id": 1}'))
    assert (call.operation, call.answered, call.by) == ("publish events user.created", False, "caller")
    assert call.body_hash == hashlib.blake2b(b'{"id": 1}', digest_size=8).hexdigest()


def test_the_default_exchange_has_a_name():
    assert Talk().begun("caller", publish("", "work")).operation == "publish amq.default work"


def test_a_confirm_answers_its_publish():
    talk = Talk(confirms=True)
    one, two = (talk.begun("caller", publish()) for _ in range(2))
    assert one.answered
    assert one.id != two.id
    assert answered(talk.callee(method(Basic.Ack(2, False)))) == [((two.id,), "")]
    assert answered(talk.callee(method(Basic.Nack(1, False)))) == [((one.id,), "nack")]
    assert answered(talk.callee(method(Basic.Ack(1, False)))) == []


@pytest.mark.parametrize("tag", [3, 0])
def test_a_confirm_of_many_answers_what_is_open(tag):
    talk = Talk(confirms=True)
    one, two, three = (talk.begun("caller", publish()) for _ in range(3))
    talk.callee(method(Basic.Ack(2, False)))
    raw = method(Basic.Ack(tag, True))
    (frame,) = talk.callee(raw)
    assert (frame.answers, frame.raw) == ((one.id, three.id), raw)
    assert talk.begun("caller", publish()).id not in {one.id, two.id, three.id}


def test_a_confirm_of_many_is_split_once_rules_are_in_force_and_for_good():
    talk = Talk(confirms=True)
    calls = [talk.begun("caller", publish()) for _ in range(3)]
    talk.reader.split_acks = True
    frames = talk.callee(method(Basic.Ack(3, True)))
    assert [(frame.answers, frame.raw) for frame in frames] == [
        ((call.id,), method(Basic.Ack(tag, False))) for tag, call in enumerate(calls, 1)
    ]
    talk.reader.split_acks = False
    calls = [talk.begun("caller", publish()) for _ in range(2)]
    frames = talk.callee(method(Basic.Nack(5, True, False)))
    assert [(frame.answers, frame.error) for frame in frames] == [((call.id,), "nack") for call in calls]


def test_channels_count_for_themselves():
    talk = Talk()
    for channel in (1, 2):
        talk.caller(method(Confirm.Select(), channel))
    one, two = (talk.begun("caller", publish(channel=channel)) for channel in (1, 2))
    assert answered(talk.callee(method(Basic.Ack(1, True), 2))) == [((two.id,), "")]
    (frame,) = talk.callee(method(Basic.Ack(1, False), 1))
    assert (frame.answers, frame.lane) == ((one.id,), 1)


def test_a_delivery_is_named_by_its_queue_and_answered_by_the_consumer():
    talk = Talk(consumers=[("c", "email.user.created", False)])
    calls = [talk.begun("callee", deliver(tag)) for tag in range(1, 6)]
    assert {(call.operation, call.by, call.answered) for call in calls} == {
        ("deliver email.user.created", "callee", True)
    }
    assert answered(talk.caller(method(Basic.Ack(2, False)))) == [((calls[1].id,), "")]
    assert answered(talk.caller(method(Basic.Reject(1, True)))) == [((calls[0].id,), "reject")]
    assert answered(talk.caller(method(Basic.Nack(4, True, True)))) == [((calls[2].id, calls[3].id), "nack")]
    assert answered(talk.caller(method(Basic.Recover(True)))) == [((calls[4].id,), "recover")]


def test_an_ack_of_many_is_split_and_never_covers_what_is_answered_already():
    talk = Talk(consumers=[("c", "work", False)])
    talk.reader.split_acks = True
    calls = [talk.begun("callee", deliver(tag)) for tag in range(1, 4)]
    talk.caller(method(Basic.Ack(2, False)))
    frames = talk.caller(method(Basic.Nack(3, True, True)))
    assert [(frame.answers, frame.raw) for frame in frames] == [
        ((calls[0].id,), method(Basic.Nack(1, False, True))), ((calls[2].id,), method(Basic.Nack(3, False, True))),
    ]  # fmt: skip
    assert talk.caller(method(Basic.Ack(0, True))) == [], "it would acknowledge what was lost on purpose"


@pytest.mark.parametrize(
    ("said", "word"), [(Basic.Ack(1), "ack"), (Basic.Nack(1), "nack"), (Basic.Reject(1), "reject")]
)
def test_an_ack_is_a_background_call_too_so_that_rules_can_name_it(said, word):
    talk = Talk(consumers=[("c", "work", False)])
    delivery = talk.begun("callee", deliver(1))
    (frame,) = talk.caller(method(said))
    assert frame.answers == (delivery.id,)
    call = frame.begins
    assert (call.operation, call.answered, call.background) == (f"{word} work", False, True)


def test_deliveries_without_acknowledgement_are_not_answered():
    talk = Talk(consumers=[("c", "work", True)])
    assert not talk.begun("callee", deliver(1)).answered


def test_the_brokers_names_of_queue_and_consumer_are_learnt():
    talk = Talk()
    declared = talk.begun("caller", method(Queue.Declare(queue="", exclusive=True)))
    assert declared.operation == "declare "
    assert answered(talk.callee(method(Queue.DeclareOk("amq.gen-7", 0, 0)))) == [((declared.id,), "")]
    assert talk.begun("caller", method(Basic.Consume(queue="", consumer_tag=""))).operation == "consume amq.gen-7"
    talk.callee(method(Basic.ConsumeOk(consumer_tag="amq.ctag-1")))
    assert talk.begun("callee", deliver(1, "amq.ctag-1")).operation == "deliver amq.gen-7"
    assert talk.begun("caller", method(Basic.Cancel(consumer_tag="amq.ctag-1"))).operation == "cancel amq.gen-7"
    talk.callee(method(Basic.CancelOk(consumer_tag="amq.ctag-1")))
    assert talk.begun("callee", deliver(2, "amq.ctag-1")).operation == "deliver "


@pytest.mark.parametrize("no_ack", [False, True])
def test_what_is_got_is_acknowledged_in_a_call_of_its_own(no_ack):
    talk = Talk()
    got = talk.begun("caller", method(Basic.Get(queue="work", no_ack=no_ack)))
    assert (got.operation, got.answered) == ("get work", True)
    ok = method(Basic.GetOk(delivery_tag=1, exchange="", routing_key="work", message_count=0))
    (frame,) = talk.callee(ok + b"".join(content(b"hello")))
    assert (frame.answers, frame.begins) == ((got.id,), None)
    calls = [frame.begins for frame in talk.caller(method(Basic.Ack(1, False)))]
    assert [call and (call.operation, call.answered) for call in calls] == [None if no_ack else ("ack work", False)]
    empty = talk.begun("caller", method(Basic.Get(queue="work")))
    assert answered(talk.callee(method(Basic.GetEmpty()))) == [((empty.id,), "")]


def test_a_returned_message_is_the_brokers_own():
    talk = Talk(confirms=True)
    call = talk.begun("caller", publish("events", "nobody"))
    back = method(Basic.Return(312, "NO_ROUTE", "events", "nobody")) + b"".join(content())
    returned = talk.begun("callee", back)
    assert (returned.operation, returned.by, returned.answered) == ("return events nobody", "callee", False)
    assert answered(talk.callee(method(Basic.Ack(1, False)))) == [((call.id,), "")]


REQUESTS = [
    (Queue.Declare(queue="q"), Queue.DeclareOk("q", 0, 0), "declare q"),
    (Queue.Bind(queue="q", exchange="x", routing_key="k"), Queue.BindOk(), "bind q x k"),
    (Queue.Unbind(queue="q", exchange="x", routing_key="k"), Queue.UnbindOk(), "unbind q x k"),
    (Queue.Purge(queue="q"), Queue.PurgeOk(1), "purge q"),
    (Queue.Delete(queue="q"), Queue.DeleteOk(1), "delete q"),
    (Exchange.Declare(exchange="x"), Exchange.DeclareOk(), "exchange.declare x"),
    (Exchange.Delete(exchange="x"), Exchange.DeleteOk(), "exchange.delete x"),
    (Exchange.Bind(destination="y", source="x", routing_key="k"), Exchange.BindOk(), "exchange.bind y x k"),
    (Exchange.Unbind(destination="y", source="x", routing_key="k"), Exchange.UnbindOk(), "exchange.unbind y x k"),
    (Basic.Qos(prefetch_count=1), Basic.QosOk(), "qos"),
    (Confirm.Select(), Confirm.SelectOk(), "confirm.select"),
    (Tx.Select(), Tx.SelectOk(), "tx.select"),
    (Tx.Commit(), Tx.CommitOk(), "tx.commit"),
    (Tx.Rollback(), Tx.RollbackOk(), "tx.rollback"),
]


@pytest.mark.parametrize(("said", "ok", "operation"), REQUESTS, ids=[row[2] for row in REQUESTS])
def test_requests_are_answered_in_order(said, ok, operation):
    talk = Talk()
    one, two = (talk.begun("caller", method(said)) for _ in range(2))
    assert one.operation == operation
    assert answered(talk.callee(method(ok))) == [((one.id,), "")]
    assert answered(talk.callee(method(ok))) == [((two.id,), "")]
    assert answered(talk.callee(method(ok))) == []


@pytest.mark.parametrize(
    "said",
    [
        Queue.Declare(queue="q", nowait=True), Queue.Bind(queue="q", exchange="x", nowait=True),
        Queue.Purge(queue="q", nowait=True), Queue.Delete(queue="q", nowait=True),
        Exchange.Declare(exchange="x", nowait=True), Exchange.Delete(exchange="x", nowait=True),
        Basic.Consume(queue="q", consumer_tag="c", nowait=True), Basic.Cancel(consumer_tag="c", nowait=True),
    ],
    ids=lambda said: said.name,
)  # fmt: skip
def test_requests_that_want_no_answer_get_none(said):
    assert not Talk().begun("caller", method(said)).answered


def test_set_up_and_heartbeats_are_background_and_the_password_is_nowhere():
    talk, seen = Talk.__new__(Talk), []
    talk.reader = type(Talk().reader)()
    for side, data in [*opened(), ("caller", HEARTBEAT), ("callee", HEARTBEAT)]:
        seen += talk.say(side, data)
    calls = [frame.begins for frame in seen if frame.begins]
    assert [(call.operation, call.by) for call in calls] == [
        ("connect /", "caller"), ("channel.open", "caller"), ("heartbeat", "caller"), ("heartbeat", "callee"),
    ]  # fmt: skip
    assert all(call.background for call in calls)
    assert "secret" not in repr(calls)


ODD = {
    "a-number": 1, "a-small": -1, "a-big": 2**40, "a-real": 1.5, "a-flag": True, "a-none": None, "a-list": [1, "x"],
    "a-time": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "a-price": decimal.Decimal("1.5"), "a-table": {"baggage": "no"},
    "a-bytes": bytearray(b"x"), "a-secret": "s",
}  # fmt: skip
"""A header of every type that clients send, none of which tells whose a message is."""


def test_identity_comes_from_headers_then_from_properties():
    talk = Talk()
    headers = {**ODD, "baggage": "a=b", "traceParent": "00-t-s-01"}
    call = talk.begun("caller", publish(headers=headers, correlation_id="c-1", message_id="m-1", reply_to="r",
                                        content_type="application/json", priority=3, expiration="60000"))  # fmt: skip
    assert call.headers == {
        "traceparent": "00-t-s-01", "baggage": "a=b", "x-correlation-id": "c-1", "message-id": "m-1",
    }  # fmt: skip
    call = talk.begun("caller", publish(headers={"x-correlation-id": "c-2"}, correlation_id="c-1"))
    assert call.headers == {"x-correlation-id": "c-2"}
    assert talk.begun("caller", publish()).headers == {}


@pytest.mark.parametrize("kind", [b"d", b"L", b"T"])
def test_numbers_of_eight_bytes_are_passed_over_whatever_they_mean(kind):
    said = publish(headers={"a-big": 2**40, "baggage": "a=b"})
    assert said.count(b"a-bigl") == 1
    assert Talk().begun("caller", said.replace(b"a-bigl", b"a-big" + kind)).headers == {"baggage": "a=b"}


def test_a_header_that_claims_more_than_its_table_is_passed_over():
    good = publish(headers={"baggage": "a=b"}, message_id="m-1")
    bad = good.replace(b"S\0\0\0\x03a=b", b"S\0\0\0\x05a=b")
    assert bad != good
    assert Talk().begun("caller", bad).headers == {"message-id": "m-1"}


def test_properties_that_cannot_be_read_are_passed_over():
    talk, good = Talk(), publish(headers={"baggage": "a=b"}, message_id="m-1")
    for at in range(good.index(b"baggage"), good.index(b"m-1")):
        bad = bytearray(good)
        bad[at] ^= 0xFF
        assert len(talk.caller(bytes(bad))) == 1


def test_markers_are_found_where_the_link_says():
    identify = {"publish events *": "json:/id", "deliver *": "header:message-id"}
    talk = Talk(identify=identify, consumers=[("c", "work", False)])
    assert talk.begun("caller", publish("events", "user.created", b'{"id": "e1"}', cut=5)).marker == "e1"
    assert talk.begun("caller", publish("other", "k", b'{"id": "e1"}')).marker == ""
    assert talk.begun("callee", deliver(1, message_id="m-1")).marker == "m-1"


def test_a_channel_that_the_broker_closes_ends_what_is_open_there():
    talk = Talk(confirms=True, consumers=[("c", "work", False)])
    confirm, delivery = talk.begun("caller", publish()), talk.begun("callee", deliver(1))
    request = talk.begun("caller", method(Queue.Declare(queue="none", passive=True)))
    raw = method(Channel.Close(404, "NOT_FOUND - no queue", 50, 10))
    first, second = talk.callee(raw)
    assert (first.raw, first.answers, first.error) == (b"", (confirm.id, delivery.id), "NOT_FOUND")
    assert (second.raw, second.answers, second.error) == (raw, (request.id,), "NOT_FOUND")
    assert not talk.begun("caller", publish()).answered, "the broker throws it away"
    talk.caller(method(Channel.CloseOk()))
    talk.caller(method(Channel.Open()))
    assert not talk.begun("caller", publish()).answered, "a new channel has no confirms"


CLOSES = [
    (Channel.Close(200, "", 0, 0), Channel.CloseOk(), 1),
    (Connection.Close(200, "", 0, 0), Connection.CloseOk(), 0),
]


@pytest.mark.parametrize(("said", "ok", "channel"), CLOSES, ids=["channel", "connection"])
def test_what_the_client_closes_has_ended_when_the_broker_says_so(said, ok, channel):
    talk = Talk(confirms=True, consumers=[("c", "work", False)])
    confirm, delivery = talk.begun("caller", publish()), talk.begun("callee", deliver(1))
    assert answered(talk.caller(method(said, channel))) == []
    assert answered(talk.callee(method(ok, channel))) == [((confirm.id, delivery.id), "closed")]


def test_a_connection_that_the_broker_closes_ends_everything():
    talk = Talk(confirms=True)
    talk.caller(method(Confirm.Select(nowait=True), 2))
    calls = [talk.begun("caller", publish(channel=channel)) for channel in (1, 2)]
    ended = answered(talk.callee(method(Connection.Close(320, "CONNECTION_FORCED - bye", 0, 0), 0)))
    assert ended == [(tuple(call.id for call in calls), "CONNECTION_FORCED")]
    assert not talk.begun("caller", publish(channel=2)).answered


def test_a_large_message_goes_on_in_parts():
    talk, data = Talk(confirms=True), b"x" * (3 * CONTENT_LIMIT)
    raw, frames = publish(data=data, cut=131_000), []
    for at in range(0, len(raw), 65_536):
        frames += talk.caller(raw[at : at + 65_536])
        kept = len(talk.reader._caller._in)
        assert kept <= CONTENT_LIMIT + 200_000
    first, *parts, last = frames
    assert b"".join(frame.raw for frame in frames) == raw
    assert first.begins.operation == "publish events user.created"
    assert first.begins.body_hash == ""
    assert [frame.begins for frame in [*parts, last]] == [None] * (len(parts) + 1)
    assert [frame.more for frame in frames] == [True] * (len(parts) + 1) + [False]
    assert last.body_hash == hashlib.blake2b(data, digest_size=8).hexdigest()
    assert {frame.lane for frame in frames} == {1}


def test_channels_may_take_turns():
    talk = Talk()
    said = [[method(Basic.Publish(exchange="x", routing_key=f"k{n}"), n), *content(b"abcdef", n, 3, message_id=f"m{n}")]
            for n in (1, 2)]  # fmt: skip
    turns = b"".join(part for pair in zip(*said, strict=True) for part in pair)
    frames = talk.caller(turns)
    assert b"".join(frame.raw for frame in frames) == turns
    calls = [frame.begins for frame in frames if frame.begins]
    assert [(call.operation, call.headers["message-id"]) for call in calls] == [
        ("publish x k1", "m1"), ("publish x k2", "m2"),
    ]  # fmt: skip
    for lane in (1, 2):
        mine = [frame for frame in frames if frame.lane == lane]
        assert [frame.more for frame in mine] == [True] * (len(mine) - 1) + [False]
        assert mine[-1].body_hash == hashlib.blake2b(b"abcdef", digest_size=8).hexdigest()


def test_a_heartbeat_within_a_message_does_not_wait_for_its_end():
    talk = Talk()
    start, head, *_ = [method(Basic.Publish(exchange="x", routing_key="k")), *content(b"abc")]
    assert talk.caller(start) == []
    frames = talk.caller(head + HEARTBEAT)
    assert [(frame.raw, frame.more) for frame in frames] == [(start + head, True), (HEARTBEAT, False)]


BAD = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "TLS"),
    (b"AMQP\0\1\0\0", "another version of AMQP"),
    (b"GET / HTTP/1.1\r\n", "not AMQP"),
]


@pytest.mark.parametrize(("data", "reason"), BAD, ids=[row[1] for row in BAD])
def test_what_is_not_amqp_is_told_at_once(data, reason):
    reader = Talk().reader.__class__()
    with pytest.raises(BadFrame, match=f"^{reason}$"):
        reader.from_caller(data)
    assert reader.unread("caller") == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x09\0\1\0\0\0\0\xce", "malformed frame"),
        (b"\x08\0\0\0\0\0\0\xcf", "malformed frame"),
        (b"\x01\0\1\0\0\0\2\0\0\xce", "malformed method"),
        (b"\x03\0\1\xff\xff\xff\xff", "frame too large"),
        (content()[0], "unexpected frame"),
        (method(Basic.Publish(exchange="x")) + content()[1], "unexpected frame"),
        (method(Basic.Publish(exchange="x")) * 2, "unexpected frame"),
    ],
)
def test_what_no_client_sends_is_bad_and_nothing_is_lost(data, reason):
    talk = Talk()
    with pytest.raises(BadFrame, match=f"^{reason}$"):
        talk.caller(publish() + data + b"rest")
    assert talk.reader.unread("caller") == publish() + data + b"rest"
    assert talk.reader.unread("caller") == b""


def test_a_broker_that_gives_one_tag_to_two_deliveries_is_not_read_on():
    talk = Talk(consumers=[("c", "work", False)])
    talk.callee(deliver(1))
    with pytest.raises(BadFrame, match="repeated delivery tag"):
        talk.callee(deliver(1))


def test_the_agreed_number_of_channels_binds():
    talk = Talk()
    assert talk.caller(method(Channel.Open(), 2047))
    with pytest.raises(BadFrame, match="unknown channel"):
        talk.caller(method(Channel.Open(), 2048))
    with pytest.raises(BadFrame, match="unknown channel"):
        Talk().callee(method(Channel.Close(504, "", 0, 0), 65_535))


def test_the_agreed_size_of_frames_binds():
    large = publish(data=b"x" * 200_000)
    assert len(Talk(frame_max=0).caller(large)) == 1
    with pytest.raises(BadFrame, match="too large"):
        Talk(frame_max=4096).caller(publish(data=b"x" * 5000))
