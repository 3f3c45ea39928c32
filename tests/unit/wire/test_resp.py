"""RESP is read the same however it is cut, and nothing that comes can hurt the reader."""

from __future__ import annotations

import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_chaos.wire.framed.reader import BadFrame
from pytest_chaos.wire.resp.reader import RespReader
from pytest_chaos.wire.resp.scan import COLLECTED


def command(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def calls(reader, data):
    return [frame.begins for frame in reader.from_caller(data) if frame.begins is not None]


def call(*words):
    (found,) = calls(RespReader(), command(*words))
    return found


# values of every type, as bytes

LINES = st.text("abc ,.:-", max_size=12).map(str.encode)
SCALARS = st.one_of(
    st.tuples(st.sampled_from([b"+", b"-", b":", b"#", b",", b"(", b"_"]), LINES).map(lambda one: b"%s%s\r\n" % one),
    st.tuples(st.sampled_from([b"$", b"!", b"="]), st.binary(max_size=40)).map(
        lambda one: b"%s%d\r\n%s\r\n" % (one[0], len(one[1]), one[1])
    ),
    st.sampled_from([b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"%0\r\n"]),
)


def nested(inner):
    many = st.tuples(st.sampled_from([b"*", b"~", b">"]), st.lists(inner, max_size=4)).map(
        lambda one: b"%s%d\r\n%s" % (one[0], len(one[1]), b"".join(one[1]))
    )
    pairs = st.lists(st.tuples(inner, inner).map(b"".join), max_size=3)
    maps = pairs.map(lambda one: b"%%%d\r\n%s" % (len(one), b"".join(one)))
    attributes = st.tuples(pairs, inner).map(lambda one: b"|%d\r\n%s%s" % (len(one[0]), b"".join(one[0]), one[1]))
    return st.one_of(many, maps, attributes)


VALUES = st.recursive(SCALARS, nested, max_leaves=12)
COMMANDS = st.one_of(
    st.lists(st.binary(max_size=20), min_size=1, max_size=5).map(lambda words: command(b"SET", *words)),
    st.sampled_from([b"PING\r\n", b"SET a 1\r\n", b"\r\n", b"*0\r\n", b"GET a\n", command("SUBSCRIBE", "a", "b")]),
)


def cut(data, places):
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def read(pieces, *, side, reader=None):
    reader = reader or RespReader()
    take = reader.from_caller if side == "caller" else reader.from_callee
    return [frame for piece in pieces for frame in take(piece)], reader.unread(side)


@given(st.lists(VALUES, max_size=6), st.lists(st.integers(0, 10_000), max_size=20))
def test_answers_are_the_same_frames_however_they_are_cut(values, places):
    data = b"".join(values)
    whole, rest = read([data], side="callee")
    assert [frame.raw for frame in whole] == values
    assert rest == b""
    assert read(cut(data, places), side="callee") == (whole, rest)
    assert read([data[at : at + 1] for at in range(len(data))], side="callee") == (whole, rest)


@given(st.lists(COMMANDS, max_size=8), st.lists(st.integers(0, 10_000), max_size=20))
def test_commands_are_the_same_frames_however_they_are_cut(values, places):
    data = b"".join(values)
    whole, rest = read([data], side="caller")
    assert [frame.raw for frame in whole] == values
    assert read(cut(data, places), side="caller") == (whole, rest)


@given(st.binary(max_size=400), st.sampled_from(["caller", "callee"]), st.lists(st.integers(0, 400), max_size=5))
def test_whatever_comes_is_given_once_or_unread(data, side, places):
    reader, given_, taken = RespReader(), b"", 0
    pieces = cut(data, places)
    take = reader.from_caller if side == "caller" else reader.from_callee
    try:
        for piece in pieces:
            given_ += b"".join(frame.raw for frame in take(piece))
            taken += len(piece)
    except BadFrame:
        taken += len(piece)
    assert given_ + reader.unread(side) == data[:taken]


def test_two_thousand_mutated_streams_are_read_or_refused_at_once():
    dice = random.Random(11)
    good = command("SET", "a", "1") + command("XADD", "s", "*", "f", "v" * 300) + command("EVAL", "return 1", 0)
    answers = b"+OK\r\n%2\r\n+a\r\n:1\r\n+b\r\n*2\r\n,1.5\r\n_\r\n|1\r\n+k\r\n+v\r\n$3\r\nabc\r\n"
    answers += b">3\r\n+message\r\n+c\r\n+d\r\n"
    began = time.monotonic()
    for _ in range(2000):
        for side, data in (("caller", good), ("callee", answers)):
            broken = bytearray(data)
            for _ in range(dice.randrange(1, 6)):
                at = dice.randrange(len(broken))
                broken[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(4))
            reader = RespReader()
            take = reader.from_caller if side == "caller" else reader.from_callee
            try:
                got = b"".join(frame.raw for frame in take(bytes(broken)))
            except BadFrame:
                got = b""
            assert got + reader.unread(side) == broken
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("size", [COLLECTED + 1, 5 * COLLECTED])
@pytest.mark.parametrize("step", [65_536, 1_000_000])
def test_a_large_value_is_given_in_parts_and_not_collected(size, step):
    data = command("SET", "k", b"x" * size) + command("GET", "k")
    frames, rest = read([data[at : at + step] for at in range(0, len(data), step)], side="caller")
    assert b"".join(frame.raw for frame in frames) + rest == data
    assert [frame.begins.operation for frame in frames if frame.begins] == ["SET k", "GET k"]
    assert not frames[-1].more
    if step < size:
        assert max(len(frame.raw) for frame in frames) <= COLLECTED + step
        assert frames[0].more or size < 2 * COLLECTED
    answer = b"$%d\r\n%s\r\n" % (size, b"x" * size)
    reader = RespReader()
    ids = [one.id for one in calls(reader, command("GET", "k") + command("PING"))]
    frames, rest = read(
        [(answer + b"+PONG\r\n")[at : at + step] for at in range(0, size + 40, step)], side="callee", reader=reader
    )
    assert [id_ for frame in frames for id_ in frame.answers] == ids
    assert rest == b""


@pytest.mark.parametrize(
    ("words", "operation"),
    [
        (("set", "k", "v"), "SET k"),
        (("XADD", "user.activity", "*", "a", "b"), "XADD user.activity"),
        (("EVALSHA", "abc", "1", "k"), "EVALSHA"),
        (("XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "user.activity", ">"), "XREADGROUP user.activity"),
        (("XGROUP", "CREATE", "s", "g", "$"), "XGROUP CREATE s"),
        (("CLIENT", "SETINFO", "lib-name", "x"), "CLIENT SETINFO"),
        (("MULTI",), "MULTI"),
        (("FLUSHALL",), "FLUSHALL"),
        (("GET", b"\xff\x00"), "GET \\xff\x00"),
        (("GET",), "GET"),
        ((b"x" * 5000, "k"), " k"),
    ],
)
def test_a_command_is_named_by_itself_and_its_first_key(words, operation):
    assert call(*words).operation == operation


def test_a_stream_entry_tells_whose_it_is():
    found = call(
        "XADD", "s", "MAXLEN", "~", "100", "*", "X-Correlation-Id", "c-1", "traceparent", "00-ab-cd-01", "d", "1"
    )
    assert found.headers == {"x-correlation-id": "c-1", "traceparent": "00-ab-cd-01"}
    assert call("XADD", "s", "*", "correlation_id", "c-2").headers == {"x-correlation-id": "c-2"}
    both = call("XADD", "s", "*", "correlation_id", "c-2", "x-correlation-id", "c-1")
    assert both.headers["x-correlation-id"] == "c-1"


@pytest.mark.parametrize(
    "data",
    [
        b"+" + b"x" * 3000 + b"\r\n",
        b"$5\r\nhello\r\n",
        b"*2\r\n$3\r\nabc\r\n+" + b"y" * 99 + b"\r\n",
        b"PING " * 9 + b"\r\n",
    ],
)
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_value_that_comes_in_very_small_pieces_is_one_frame(data, step):
    reader, given = RespReader(), []
    read = reader.from_caller if data.startswith(b"P") else reader.from_callee
    for at in range(0, 2 * len(data), step):
        given += read((data * 2)[at : at + step])
    assert [frame.raw for frame in given] == [data] * 2
    assert all(type(frame.raw) is bytes for frame in given)


def test_a_value_of_a_stream_entry_is_no_name():
    assert call("XADD", "s", "*", "kind", "traceparent", "x-correlation-id", "c").headers == {"x-correlation-id": "c"}
    assert call("XADD", "s", "NOMKSTREAM", "*", "kind", "baggage", "n", "1").headers == {}
    many = call("XADD", "s", "*", "traceparent", "t", *["n"] * 100)
    assert many.headers == {"traceparent": "t"}


def test_commands_that_nobody_answers_are_not_remembered_without_end():
    reader = RespReader()
    assert len(reader.from_caller(command("PING") * 65_536)) == 65_536
    with pytest.raises(BadFrame, match="too many commands"):
        reader.from_caller(command("PING"))
    assert reader.unread("caller") == command("PING")


@pytest.mark.parametrize(
    "words",
    [("AUTH", "user", "hunter2"), ("HELLO", "3", "AUTH", "user", "hunter2"),
     ("CONFIG", "SET", "requirepass", "hunter2"),
     ("ACL", "SETUSER", "me", ">hunter2"), ("MIGRATE", "h", "1", "k", "0", "1", "AUTH", "hunter2")],
)  # fmt: skip
def test_a_password_is_never_told(words):
    found = call(*words)
    assert "hunter2" not in repr(found)
    assert "user" not in repr(found)
    assert found.body_hash == ""


@pytest.mark.parametrize(
    ("words", "background"),
    [
        (("BLPOP", "q", "1"), True),
        (("XREADGROUP", "GROUP", "g", "c", "BLOCK", "100", "STREAMS", "s", ">"), True),
        (("XREADGROUP", "GROUP", "g", "c", "STREAMS", "BLOCK", ">"), False),
        (("PING",), True),
        (("SUBSCRIBE", "c"), True),
        (("SET", "a", "1"), False),
    ],
)
def test_polls_and_handshakes_are_background(words, background):
    assert call(*words).background is background


def test_answers_go_to_the_calls_in_their_order():
    reader = RespReader()
    first, second = calls(reader, command("GET", "a") + command("LPUSH", "a", "1"))
    frames = reader.from_callee(b"$1\r\nx\r\n-WRONGTYPE Operation against a key\r\n")
    assert [(frame.answers, frame.error) for frame in frames] == [((first.id,), ""), ((second.id,), "WRONGTYPE")]
    assert reader.from_callee(b"-ERR nobody asked\r\n")[0].answers == ()


@pytest.mark.parametrize("push", [b"*", b">"])
def test_subscriptions_are_confirmed_and_deliver(push):
    reader = RespReader()
    subscribe, ping = calls(reader, command("SUBSCRIBE", "a", "b") + command("PING"))

    def told(word, channel, last):
        return push + b"3\r\n$%d\r\n%s\r\n$1\r\n%s\r\n%s\r\n" % (len(word), word, channel, last)

    one, two, three = reader.from_callee(
        told(b"subscribe", b"a", b":1") + told(b"message", b"a", b"$1\r\nx") + told(b"subscribe", b"b", b":2")
    )
    assert (one.answers, three.answers) == ((), (subscribe.id,))
    assert (two.begins.operation, two.begins.by, two.begins.answered) == ("deliver a", "callee", False)
    (pong,) = reader.from_callee(b"+PONG\r\n")
    assert pong.answers == (ping.id,)
    (leave, get) = calls(reader, command("UNSUBSCRIBE") + command("LRANGE", "l", "0", "-1"))
    ends = reader.from_callee(told(b"unsubscribe", b"a", b":1") + told(b"unsubscribe", b"b", b":0"))
    assert [frame.answers for frame in ends] == [(leave.id,), ()]
    (list_,) = reader.from_callee(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n")
    assert (list_.begins, list_.answers) == (None, (get.id,))


def test_a_list_that_reads_like_a_message_is_an_answer():
    reader = RespReader()
    (get,) = calls(reader, command("LRANGE", "l", "0", "-1"))
    (frame,) = reader.from_callee(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n")
    assert frame.answers == (get.id,)


def test_after_a_reset_nothing_is_subscribed_to():
    reader = RespReader()
    calls(reader, command("SUBSCRIBE", "a"))
    reader.from_callee(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
    reset, get = calls(reader, command("RESET") + command("LRANGE", "l", "0", "-1"))
    frames = reader.from_callee(b"+RESET\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n$1\r\nb\r\n")
    assert [frame.answers for frame in frames] == [(reset.id,), (get.id,)]


def test_silenced_commands_are_answered_by_nobody():
    reader = RespReader()
    found = calls(
        reader,
        command("CLIENT", "REPLY", "SKIP") + command("SET", "a", "1") + command("GET", "a")
        + command("CLIENT", "REPLY", "OFF") + command("SET", "b", "1") + command("CLIENT", "REPLY", "ON"),
    )  # fmt: skip
    assert [one.answered for one in found] == [False, False, True, False, False, True]
    frames = reader.from_callee(b"$1\r\n1\r\n+OK\r\n")
    assert [frame.answers for frame in frames] == [(found[2].id,), (found[5].id,)]


def test_what_a_monitor_says_answers_nothing():
    reader = RespReader()
    monitor, get = calls(reader, command("MONITOR") + command("GET", "a"))
    frames = reader.from_callee(b'+OK\r\n+1700000000.123456 [0 127.0.0.1:1] "SET" "a"\r\n$1\r\n1\r\n')
    assert [frame.answers for frame in frames] == [(monitor.id,), (), (get.id,)]


def test_an_attribute_belongs_to_what_it_is_about():
    reader = RespReader()
    (get,) = calls(reader, command("GET", "a"))
    (frame,) = reader.from_callee(b"|1\r\n+ttl\r\n*2\r\n:1\r\n:2\r\n-ERR no\r\n")
    assert (frame.answers, frame.error) == ((get.id,), "ERR")


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"\x16\x03\x01", "TLS"), (b"\x00\x00", "no RESP"), (b"*x\r\n", "no RESP"), (b"*" + b"1" * 30, "no RESP"),
     (b"x" * (COLLECTED + 1), "a line without end"),
     (command("SET", "a", "1") + command("PSYNC", "?", "-1"), "replication")],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_a_reason_and_nothing_lost(data, reason):
    reader = RespReader()
    with pytest.raises(BadFrame, match=reason):
        reader.from_caller(data)
    assert reader.unread("caller") == data
    assert reader.unread("caller") == b""


def test_a_nest_without_end_is_no_recursion():
    reader = RespReader()
    nest = b"*1\r\n" * 200_000
    frames = reader.from_callee(nest)
    assert b"".join(frame.raw for frame in frames) + reader.unread("callee") == nest
