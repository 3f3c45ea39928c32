"""AMQP's reader gives the same frames however its bytes are cut, loses none, and survives whatever comes."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_chaos.wire.amqp.reader import AmqpReader
from pytest_chaos.wire.framed.reader import BadFrame
from tests.unit.wire.amqp_talk import (
    HEARTBEAT,
    Basic,
    Channel,
    Confirm,
    Connection,
    Queue,
    content,
    deliver,
    method,
    opened,
    publish,
)

TEXT = st.text("abc.-", max_size=6)
CHANNEL = st.integers(1, 3)
TAG = st.integers(0, 9)
BODY = st.binary(max_size=40)
CALLERS = st.one_of(
    st.builds(publish, TEXT, TEXT, BODY, CHANNEL, st.integers(0, 9), message_id=TEXT),
    st.builds(lambda tag, many, channel: method(Basic.Ack(tag, many), channel), TAG, st.booleans(), CHANNEL),
    st.builds(lambda tag, many, channel: method(Basic.Nack(tag, many, True), channel), TAG, st.booleans(), CHANNEL),
    st.builds(lambda tag, channel: method(Basic.Reject(tag), channel), TAG, CHANNEL),
    st.builds(lambda queue, channel: method(Queue.Declare(queue=queue), channel), TEXT, CHANNEL),
    st.builds(lambda tag, channel: method(Basic.Consume(queue="q", consumer_tag=tag), channel), TEXT, CHANNEL),
    st.builds(lambda channel: method(Confirm.Select(), channel), CHANNEL),
    st.builds(lambda channel: method(Basic.Get(queue="q"), channel), CHANNEL),
    st.builds(lambda channel: method(Channel.Close(200, "", 0, 0), channel), CHANNEL),
    st.builds(lambda channel: method(Basic.Recover(True), channel), CHANNEL),
    st.just(HEARTBEAT),
)  # fmt: skip
CALLEES = st.one_of(
    st.tuples(TEXT, BODY, CHANNEL),
    st.builds(lambda tag, many, channel: method(Basic.Ack(tag, many), channel), TAG, st.booleans(), CHANNEL),
    st.builds(lambda queue, channel: method(Queue.DeclareOk(queue, 0, 0), channel), TEXT, CHANNEL),
    st.builds(lambda tag, channel: method(Basic.ConsumeOk(tag), channel), TEXT, CHANNEL),
    st.builds(lambda tag, data, channel: method(Basic.GetOk(tag, False, "", "q", 0), channel)
              + b"".join(content(data, channel)), TAG, BODY, CHANNEL),
    st.builds(lambda channel: method(Basic.GetEmpty(), channel), CHANNEL),
    st.builds(lambda channel: method(Channel.CloseOk(), channel), CHANNEL),
    st.builds(lambda channel: method(Channel.Close(404, "NOT_FOUND", 0, 0), channel), CHANNEL),
    st.just(method(Connection.Close(320, "CONNECTION_FORCED", 0, 0), 0)),
    st.just(HEARTBEAT),
)  # fmt: skip


@st.composite
def talks(draw):
    """What both sides say; deliveries (consumer, body, channel) get tags that rise, as a broker's do."""
    said = draw(
        st.lists(st.one_of(st.tuples(st.just("caller"), CALLERS), st.tuples(st.just("callee"), CALLEES)), max_size=25)
    )
    return [
        (side, deliver(tag, *data, correlation_id="c") if isinstance(data, tuple) else data)
        for tag, (side, data) in enumerate(said, 10)
    ]


def play(talk, cut=None):
    """Everything that a reader gives for a conversation, by side; with ``cut``, each piece is cut at random."""
    reader, given = AmqpReader(), {"caller": [], "callee": []}
    for side, data in talk:
        at = 0
        while at < len(data):
            step = len(data) if cut is None else cut.choice([1, 1, 2, 7, 50, 1000])
            read = reader.from_caller if side == "caller" else reader.from_callee
            given[side] += read(data[at : at + step])
            at += step
    return reader, given


@settings(max_examples=200, deadline=None)
@given(talks(), st.integers(0, 2**32))
def test_however_bytes_are_cut_the_frames_are_the_same(talk, seed):
    talk = opened() + talk
    _, whole = play(talk)
    _, cut = play(talk, random.Random(seed))
    assert cut == whole
    for side, frames in whole.items():
        assert b"".join(frame.raw for frame in frames) == b"".join(data for who, data in talk if who == side)
    begun = [frame.begins.id for frames in whole.values() for frame in frames if frame.begins]
    assert len(begun) == len(set(begun)) or any(frame.answers for frames in whole.values() for frame in frames)


@settings(max_examples=100, deadline=None)
@given(talks())
def test_nothing_is_answered_twice(talk):
    reader, is_open = AmqpReader(), set()
    reader.split_acks = True
    for side, data in opened() + talk:
        for frame in reader.from_caller(data) if side == "caller" else reader.from_callee(data):
            if frame.begins:
                assert frame.begins.id not in is_open
                if frame.begins.answered:
                    is_open.add(frame.begins.id)
            assert is_open.issuperset(frame.answers)
            is_open -= set(frame.answers)
            assert len(frame.answers) <= 1 or not frame.raw or frame.error


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_frames_or_a_bad_frame(data, begun):
    for side in ("caller", "callee"):
        reader, _ = play(opened() if begun else [])
        read = reader.from_caller if side == "caller" else reader.from_callee
        try:
            frames = read(data)
        except BadFrame:
            assert reader.unread(side) == data
        else:
            assert b"".join(frame.raw for frame in frames) + reader.unread(side) == data


STORY = [
    *opened(),
    ("caller", method(Confirm.Select())),
    ("callee", method(Confirm.SelectOk())),
    ("caller", method(Basic.Consume(queue="work", consumer_tag="c"))),
    ("callee", method(Basic.ConsumeOk(consumer_tag="c"))),
    *[("caller", publish(data=b"{}" * size, headers={"traceparent": "00-t-s-01", "n": 1})) for size in (1, 50, 9)],
    ("callee", method(Basic.Ack(3, True))),
    *[("callee", deliver(tag, message_id=f"m{tag}")) for tag in range(1, 6)],
    ("caller", method(Basic.Ack(2, True))),
    ("caller", method(Basic.Nack(4, True, True))),
    ("caller", method(Basic.Get(queue="work"))),
    ("callee", method(Basic.GetOk(6, False, "", "work", 0)) + b"".join(content(b"x" * 100))),
    ("caller", HEARTBEAT),
    ("callee", method(Channel.Close(404, "NOT_FOUND", 0, 0))),
    ("caller", method(Channel.CloseOk())),
]  # fmt: skip


def mutated(data, chance):
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at:at] = chance.randbytes(chance.randint(1, 8))
            case 2:
                del data[at : at + chance.randint(1, 8)]
            case _:
                data[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
    return bytes(data)


@pytest.mark.parametrize("split", [False, True])
def test_mutated_conversations_end_in_frames_or_a_bad_frame(split):
    chance, bad, began = random.Random(4), 0, time.monotonic()
    for _ in range(1000):
        reader, over = AmqpReader(), set()
        reader.split_acks = split
        for side, said in STORY:
            if side in over:
                continue
            read = reader.from_caller if side == "caller" else reader.from_callee
            data = mutated(said, chance) if chance.random() < 0.15 else said
            waiting = len(reader._caller._in if side == "caller" else reader._callee._in)
            try:
                frames = read(data)
            except BadFrame:
                assert len(reader.unread(side)) == waiting + len(data)
                over.add(side)
                bad += 1
            else:
                waits = len(reader._caller._in if side == "caller" else reader._callee._in)
                if not split:
                    assert sum(len(frame.raw) for frame in frames) + waits == waiting + len(data)
    assert bad > 300
    assert time.monotonic() - began < 60
