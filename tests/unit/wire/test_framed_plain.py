"""Frames that pass at once tell what they would have told the long way: same attempts, same bytes, same calls."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_chaos.wire.amqp.reader import AmqpReader
from pytest_chaos.wire.framed.plain import Plain, origin
from pytest_chaos.wire.framed.reader import BadFrame, Call
from pytest_chaos.wire.kafka.api import shape
from pytest_chaos.wire.kafka.reader import KafkaReader
from pytest_chaos.wire.resp.reader import RespReader
from pytest_chaos.wire.resp.scan import Scanner, one_answer, words_of
from tests.unit.wire import amqp_talk as amqp
from tests.unit.wire.test_framed import Bench, settle
from tests.unit.wire.test_kafka import EXCHANGES, batch, produce

NUMBERS = st.integers(1, 4).map(str)
LINES = st.one_of(
    st.tuples(st.sampled_from(["call", "poll", "tell"]), NUMBERS, st.sampled_from("ab"), st.just('o"p')),
    st.tuples(st.just("done"), st.lists(NUMBERS, min_size=1, max_size=3).map(",".join), st.sampled_from("ab")),
    st.tuples(st.just("done"), NUMBERS, st.just("a"), st.just("nack")),
    st.tuples(st.just("lane"), st.just("a")),
).map(" ".join)
ENDS = ["caller_eof", "callee_eof", "reset", "shut", "undialled", "opaque", ""]


async def told(folder, talk, end, *, slow, in_order):
    """Play a talk; give what was recorded (times: whether there are any), what was open, and all bytes."""
    bench = Bench(folder, in_order=in_order)
    if slow:  # a rule that counts and never acts: every frame goes the long way
        bench.rule("close_after_requests", count=10**9)
    handler, found = bench.connection.handler, []
    for side, lines in talk:
        text = "".join(line + "\n" for line in lines)
        await (bench.ask if side == "caller" else bench.tell)(text)
        found.append([timeless(record.as_json()) for record in bench.world.open.values()])
    match end:
        case "caller_eof" | "callee_eof":
            getattr(handler, end)()
            handler.lost(caller=end == "caller_eof", reset=False)
        case "reset":
            handler.lost(caller=False, reset=True)
        case "shut":
            handler.shut("f")
        case "undialled":
            handler.undialled("refused")
        case "opaque":
            handler.from_caller(b"BAD\n")
    await settle()
    open_ = sorted(bench.world.open)
    bench.world.spool.flush()
    rows = [timeless(json.loads(line)) for line in bench.path.read_text().splitlines()]
    return found, open_, rows, bench.caller.got, bench.callee.got


def timeless(row):
    return [(name, bool(value) if name.endswith("_ns") else value) for name, value in row.items()]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from(["caller", "callee"]), st.lists(LINES, max_size=4)), max_size=6),
    st.sampled_from(ENDS),
    st.booleans(),
)
@example([("caller", ["call 1 a x", "call 1 a x"]), ("callee", ["done 1 a nack", "done 1 a"])], "reset", True)
@example([("caller", ["call 1 a x", "tell 1 a y"]), ("callee", ["call 2 a z"])], "shut", False)
def test_a_frame_that_passes_at_once_tells_what_it_tells_the_long_way(tmp_path_factory, talk, end, in_order):
    folder = tmp_path_factory.mktemp
    quick, slow = (
        asyncio.run(told(folder("spool"), talk, end, slow=slow, in_order=in_order)) for slow in (False, True)
    )
    assert quick == slow


def test_a_call_that_a_rule_came_too_late_for_ends_with_the_held_answer_it_shares(tmp_path):
    async def work():
        bench = Bench(tmp_path)
        await bench.ask("call 1 a x\n")
        bench.rule("hold", "y", at="response", ms=None)
        await bench.ask("call 2 a y\n")
        await bench.tell("done 1,2 a nack\n")
        assert bench.caller.got == b""
        await bench.lift()
        assert bench.caller.got == b"done 1,2 a nack\n"
        assert [row["response_headers"] for row in bench.rows().values()] == [{"error": "nack"}] * 2

    asyncio.run(work())


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize(
    "call",
    [
        Call(id=1, operation='publish "\u00e9', headers={"x-y": '"\n'}, marker="m\\", body_hash="00ff"),
        Call(id=1, operation=""),
    ],
)
def test_a_plain_attempt_is_written_as_a_whole_one(call, answered):
    plain = Plain("a1", origin('a -> "b"', "c1", "amqp", 1, reused=True), call, 2, 3, 4)
    assert plain.line() == plain.whole().line()
    if answered:
        plain.finish(6, 7, 'n"')
    else:
        plain.ended_ns = 6
    assert plain.line() == plain.whole().line()
    assert plain.whole().response_headers == ({"error": 'n"'} if answered else {})


# what readers read at a go

RESP = [
    ("caller", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nvv\r\n"), ("callee", b"+OK\r\n"),
    ("caller", b"*2\r\n$3\r\nget\r\n$1\r\nk\r\n"), ("callee", b"$2\r\nvv\r\n"),
    ("caller", b"*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n"), ("callee", b"-WRONGTYPE no\r\n"),
    ("caller", b"*2\r\n$4\r\nINCR\r\n$0\r\n\r\n"), ("callee", b":12\r\n"),
    ("caller", b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\nv\r\nv\r\n$2\r\nNX\r\n"), ("callee", b"$-1\r\n"),
    ("caller", b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n"),
    ("caller", b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
    ("caller", b"*1\r\n$5\r\nMULTI\r\n"), ("callee", b"+OK\r\n"),
    ("caller", b"*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$11\r\ntraceparent\r\n$2\r\n00\r\n"),
    ("callee", b"+QUEUED\r\n"),
    ("caller", b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n"), ("callee", b"+OK\r\n"),
    ("caller", b"*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$1\r\nb\r\n"),
    ("callee", b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
    ("callee", b"*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"),
    ("callee", b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"),
    ("caller", b"*1\r\n$5\r\nRESET\r\n"), ("callee", b"+RESET\r\n"),
    ("caller", b"*1\r\n$7\r\nMONITOR\r\n"), ("callee", b"+OK\r\n"), ("callee", b'+1.2 [0 x] "GET" "k"\r\n'),
    ("caller", b"*1\r\n$5\r\nPSYNC\r\n"),
]  # fmt: skip
TRACE = {"headers": {"X-Correlation-ID": "1", "other": 5, "traceparent": "00"}, "message_id": "m", "priority": 3}
AMQP = [
    *amqp.opened(),
    ("caller", amqp.publish(data=b"unconfirmed", **TRACE)),
    ("caller", amqp.method(amqp.Confirm.Select())), ("callee", amqp.method(amqp.Confirm.SelectOk())),
    ("caller", amqp.publish(**TRACE)), ("caller", amqp.publish(exchange="", data=b"")),
    ("caller", amqp.publish(data=b"x" * 90, cut=40)), ("callee", amqp.method(amqp.Basic.Ack(1))),
    ("callee", amqp.method(amqp.Basic.Nack(3, True))),
    ("caller", amqp.method(amqp.Basic.Consume(queue="q", consumer_tag="c"))),
    ("callee", amqp.method(amqp.Basic.ConsumeOk("c"))), ("callee", amqp.deliver(1, **TRACE)),
    ("caller", amqp.method(amqp.Basic.Ack(1))),
    ("caller", amqp.method(amqp.Basic.Get(queue="q"))),
    ("callee", b"".join([amqp.method(amqp.Basic.GetOk(2, False, "", "q", 0)), *amqp.content(b"x")])),
    ("callee", amqp.HEARTBEAT),
]  # fmt: skip


def heard(reader, talk, size):
    """Tell a reader a talk in pieces of a size; give the frames, up to bytes that are none, and what is unread."""
    frames = []
    for side, data in talk:
        try:
            for at in range(0, len(data), size):
                frames += (reader.from_caller if side == "caller" else reader.from_callee)(data[at : at + size])
        except BadFrame as wrong:
            return frames, str(wrong), b"".join(frame.raw for frame in frames) + reader.unread(side)
    return frames, "", b"".join(frame.raw for frame in frames) + reader.unread("caller") + reader.unread("callee")


@pytest.mark.parametrize(("make", "talk"), [(RespReader, RESP), (AmqpReader, AMQP)])
def test_what_comes_whole_is_read_as_what_comes_in_pieces(make, talk):
    assert heard(make(), talk, 2**20) == heard(make(), talk, 1) == heard(make(), talk, 7)


@pytest.mark.parametrize(("make", "talk"), [(RespReader, RESP), (AmqpReader, AMQP)])
def test_what_is_broken_is_read_as_what_is_broken_in_pieces(make, talk):
    chance = random.Random(7)
    for _ in range(1500):
        at = chance.randrange(len(talk))
        side, data = talk[at]
        broken = bytearray(data)
        for _ in range(chance.randint(1, 2)):
            match chance.randrange(3):
                case 0:
                    broken[chance.randrange(len(broken))] = chance.choice(
                        b"\0\1\r\n$*+0129" + bytes([chance.randrange(256)])
                    )
                case 1:
                    del broken[chance.randrange(len(broken)) :]
                case 2:
                    broken += chance.choice([b"\r\n", data, b"$"])
            broken = broken or bytearray(data)
        said = [*talk[:at], (side, bytes(broken)), *talk[at + 1 :]]
        frames, wrong, bytes_ = heard(make(), said, 2**20)
        pieces, wrong_, bytes__ = heard(make(), said, 1)
        assert wrong == wrong_
        # Of what came with bytes that are no frame nothing is given: in pieces, less came with them.
        assert frames == pieces[: len(frames)]
        assert (bytes_ == bytes__ and frames == pieces) if not wrong else bytes_.startswith(bytes__[: len(bytes_)])


@settings(max_examples=400)
@given(
    st.lists(
        st.binary(max_size=6) | st.sampled_from([b"\r\n", b"v" * 1024, b"v" * 1025, b"$1"]), min_size=1, max_size=3
    ),
    st.binary(max_size=3) | st.sampled_from([b"", b"\r\n", b"*1\r\n$1\r\na\r\n"]),
    st.integers(0, 12),
)
def test_one_command_is_read_as_the_scanner_reads_it(words, behind, missing):
    data = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    data = data[: len(data) - missing] + behind
    found = words_of(data)
    if found is not None:
        scanner = Scanner(inline=True)
        pieces = [piece for byte in data for piece in scanner.feed(bytes([byte]))]
        assert [(piece.raw, piece.items) for piece in pieces] == [(data, found)]
    elif not behind and not missing:
        assert any(b"\r\n" in word or word.endswith(b"\r") or len(word) > 1024 for word in words)


@settings(max_examples=400)
@given(
    st.sampled_from([b"+", b":", b"$", b"-", b"*", b""]), st.binary(max_size=4) | st.just(b"3"), st.binary(max_size=6)
)
@example(b"$", b"1", b"x\r\n")
@example(b"+", b"OK", b"")
def test_one_answer_is_read_as_the_scanner_reads_it(kind, line, rest):
    data = kind + line + b"\r\n" + rest
    if one_answer(data):
        scanner = Scanner()
        assert [piece.raw for byte in data for piece in scanner.feed(bytes([byte]))] == [data]


KAFKA = [(produce(batch([(b"traceparent", b"00")])), produce(batch([], value=b"z")), EXCHANGES["Produce 3 orders"][1])]
KAFKA += [(*[asked] * 2, answered) for name, (asked, answered) in EXCHANGES.items() if name.startswith("Produce")]


def seen(reader, asked, answered):
    """Give what a request and its answer are read as, but for the call's number."""
    try:
        (frame,) = reader.from_caller(asked)
        call = frame.begins
        (back,) = reader.from_callee(answered[:4] + asked[8:12] + answered[8:]) if call.answered else [frame]
    except BadFrame as wrong:
        return str(wrong)
    assert frame.raw == asked
    assert back.answers in {(call.id,), ()}
    return dataclasses.replace(call, id=0), back.error


@pytest.mark.parametrize(("asked", "other", "answered"), KAFKA, ids=range(len(KAFKA)))
def test_what_a_reader_recognizes_is_what_one_who_has_seen_nothing_reads(asked, other, answered):
    chance = random.Random(7)
    for round_ in range(600):
        if round_ % 20 == 0:
            knows = KafkaReader()
            assert seen(knows, asked, answered) == seen(KafkaReader(), asked, answered)
            assert knows._familiar.request(asked, shape(0, asked[7])) is not None
        said = []
        for whole in (chance.choice([asked, other]), answered):
            broken = bytearray(whole)
            for _ in range(chance.randint(0, 2)):
                if chance.random() < 0.2:
                    del broken[chance.randrange(14, len(broken)) :]
                else:
                    broken[chance.randrange(8, len(broken))] = chance.randrange(256)
            said.append(len(broken[4:]).to_bytes(4, "big") + broken[4:])
        if isinstance(found := seen(knows, *said), str):
            knows = KafkaReader()
        assert found == seen(KafkaReader(), *said)


def test_an_error_behind_an_answer_that_is_recognized_is_named():
    reader, (asked, answered) = KafkaReader(), EXCHANGES["Produce 3 orders"]
    assert seen(reader, asked, answered)[1] == ""
    at = reader._familiar._answer[2]
    assert seen(reader, asked, answered)[1] == ""
    assert seen(reader, asked, answered[:at] + b"\0\6" + answered[at + 2 :])[1] == "NOT_LEADER_OR_FOLLOWER"
