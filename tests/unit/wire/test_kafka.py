"""Kafka's frames survive any cutting and any noise; what a real broker answered is read, and rewritten, as it is."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import random
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_chaos.errors import ChaosError
from pytest_chaos.wire.framed.reader import BadFrame
from pytest_chaos.wire.kafka.addresses import Advertised, Elsewhere
from pytest_chaos.wire.kafka.api import error_name
from pytest_chaos.wire.kafka.cutter import COLLECTED
from pytest_chaos.wire.kafka.reader import KafkaReader

CAPTURED = json.loads(Path(__file__).with_name("kafka_exchanges.json").read_text())
HOST, _, PORT = CAPTURED["advertised"].rpartition(":")
EXCHANGES = {
    name: (base64.b64decode(one["request"]), base64.b64decode(one["answer"]))
    for name, one in CAPTURED["exchanges"].items()
}
ADVERTISING = [name for name in EXCHANGES if name.startswith(("Metadata", "FindCoordinator", "DescribeCluster"))]
CUTS = st.lists(st.integers(0, 10**6), max_size=12)


def framed(data):
    return len(data).to_bytes(4, "big") + data


def text(value):
    return b"\xff\xff" if value is None else len(value).to_bytes(2, "big") + value.encode()


def request(key, version, body=b"", *, correlation=1, client="c"):
    return framed(struct.pack(">hhi", key, version, correlation) + text(client) + body)


def answer(body=b"", *, correlation=1):
    return framed(struct.pack(">i", correlation) + body)


def zigzag(value):
    value, out = (value << 1) ^ (value >> 63), bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def batch(headers, *, codec=0, value=b"v" * 200, magic=2, count=1, pack=None):
    parts = [b"\0", zigzag(0), zigzag(0), zigzag(-1), zigzag(len(value)), value, zigzag(len(headers))]
    for name, content in headers:
        parts += [zigzag(len(name)), name, zigzag(-1 if content is None else len(content)), content or b""]
    record = b"".join(parts)
    records = zigzag(len(record)) + record
    if pack is not None:
        records = pack(records)
    rest = struct.pack(">ibIhiqqqhii", 0, magic, 0, codec, 0, 0, 0, -1, -1, -1, count) + records
    return struct.pack(">qi", 0, len(rest)) + rest


def produce(records=b"", *, acks=-1, topic="orders", correlation=1, size=None):
    body = text(None) + struct.pack(">hii", acks, 1000, 1) + text(topic)
    records = struct.pack(">iii", 1, 0, len(records) if size is None else size) + records
    return request(0, 3, body + records, correlation=correlation)


def told(mapping):
    return Advertised(mapping, own="own:9")


def cut(data, cuts):
    edges = sorted({0, len(data), *(one % (len(data) + 1) for one in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def only(reader, data, side="caller"):
    (frame,) = (reader.from_caller if side == "caller" else reader.from_callee)(data)
    assert frame.raw == data
    return frame


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(EXCHANGES)), max_size=6), CUTS, CUTS)
def test_any_cutting_of_a_conversation_gives_the_same_frames(names, asked_cuts, answered_cuts):
    asked, answered = (b"".join(EXCHANGES[name][side] for name in names) for side in (0, 1))
    reader, whole = KafkaReader(), KafkaReader()
    asks = [frame for data in cut(asked, asked_cuts) for frame in reader.from_caller(data)]
    answers = [frame for data in cut(answered, answered_cuts) for frame in reader.from_callee(data)]
    assert asks == whole.from_caller(asked)
    assert answers == whole.from_callee(answered)
    assert [frame.raw for frame in asks] == [EXCHANGES[name][0] for name in names]
    assert [frame.raw for frame in answers] == [EXCHANGES[name][1] for name in names]
    assert [frame.answers for frame in answers] == [(frame.begins.id,) for frame in asks]
    assert reader.unread("caller") == reader.unread("callee") == b""


def test_half_a_frame_is_given_back_as_unread():
    reader = KafkaReader()
    data = produce()
    assert reader.from_caller(data[:9]) == []
    assert reader.unread("caller") == data[:9]
    assert reader.unread("caller") == b""


@pytest.mark.parametrize(
    ("name", "operation", "error"),
    [
        ("Metadata 0", "Metadata", ""),
        ("Metadata 13", "Metadata", ""),
        ("FindCoordinator 0", "FindCoordinator g", ""),
        ("FindCoordinator 6", "FindCoordinator g", ""),
        ("DescribeCluster 2", "DescribeCluster", ""),
        ("Heartbeat 0", "Heartbeat g", "UNKNOWN_MEMBER_ID"),
        ("Heartbeat 4", "Heartbeat g", "UNKNOWN_MEMBER_ID"),
        ("OffsetCommit 2", "OffsetCommit g", "ILLEGAL_GENERATION"),
        ("OffsetCommit 9", "OffsetCommit g", "GROUP_ID_NOT_FOUND"),
        ("Produce 3 orders", "Produce orders", ""),
        ("Produce 3 ..", "Produce ..", "UNKNOWN_TOPIC_OR_PARTITION"),
        ("Produce 12 orders", "Produce orders", ""),
        ("Produce 12 ..", "Produce ..", "UNKNOWN_TOPIC_OR_PARTITION"),
    ],
)
def test_what_a_real_broker_was_asked_and_answered(name, operation, error):
    reader = KafkaReader()
    asked, answered = only(reader, EXCHANGES[name][0]), only(reader, EXCHANGES[name][1], "callee")
    assert (asked.begins.operation, asked.begins.answered, answered.error) == (operation, True, error)
    assert answered.answers == (asked.begins.id,)
    if name.startswith("Produce"):
        assert asked.begins.headers == {"traceparent": "00-t-s-01"}
        assert asked.begins.body_hash
    assert asked.begins.background == name.startswith(("Metadata", "FindCoordinator", "Heartbeat"))


def test_a_topic_that_is_named_by_its_id_is_called_by_the_name_that_metadata_told():
    topics = {}
    reader = KafkaReader(topics=topics)
    for data, side in zip(EXCHANGES["Metadata 12"], ("caller", "callee"), strict=True):
        only(reader, data, side)
    ((topic_id, name),) = topics.items()
    assert name == "orders"
    by_id = b"\0\0" + struct.pack(">hi", -1, 1000) + b"\2" + topic_id + b"\1\0\0"
    assert only(KafkaReader(topics=topics), request(0, 13, b"\0" + by_id[1:])).begins.operation == "Produce orders"
    unknown = only(KafkaReader(), request(0, 13, b"\0" + by_id[1:])).begins.operation
    assert unknown == f"Produce {base64.urlsafe_b64encode(topic_id).decode().rstrip('=')}"


def test_acks_0_gets_no_answer_and_disturbs_none():
    reader = KafkaReader()
    first = only(reader, produce(acks=0, correlation=1)).begins
    second = only(reader, produce(acks=1, correlation=2)).begins
    assert (first.answered, second.answered) == (False, True)
    assert only(reader, answer(b"\0" * 8, correlation=2), "callee").answers == (second.id,)


def test_calls_have_ids_of_their_own_even_where_correlation_ids_repeat():
    reader = KafkaReader()
    calls = [only(reader, produce(correlation=0)).begins.id for _ in range(3)]
    assert len(set(calls)) == 3
    assert [only(reader, answer(correlation=0), "callee").answers for _ in range(3)] == [(one,) for one in calls]


IDENTITY = [(b"X-Correlation-Id", b"c-1"), (b"secret", b"s"), (b"traceparent", b"00-t-s-01"), (b"baggage", None)]
READ = {"x-correlation-id": "c-1", "traceparent": "00-t-s-01"}


def test_identity_headers_of_the_first_record():
    assert only(KafkaReader(), produce(batch(IDENTITY))).begins.headers == READ
    squeezed = batch(IDENTITY, codec=1, pack=gzip.compress)
    assert only(KafkaReader(), produce(squeezed)).begins.headers == READ


@pytest.mark.parametrize(
    "records",
    [
        b"",
        batch(IDENTITY)[:70],
        batch(IDENTITY, codec=2),
        batch(IDENTITY, codec=3),
        batch(IDENTITY, codec=4),
        batch(IDENTITY, codec=1),  # not gzip, though it says so
        batch(IDENTITY, magic=1),
        batch([], count=0),
        batch(IDENTITY, codec=0x20),
    ],
)
def test_a_batch_that_cannot_be_read_has_no_headers(records):
    call = only(KafkaReader(), produce(records)).begins
    assert (call.operation, dict(call.headers)) == ("Produce orders", {})


def test_a_gzip_bomb_is_opened_no_further_than_it_is_needed():
    bomb = batch([], codec=1, pack=lambda _: gzip.compress(b"\0" * 300_000_000))
    tracemalloc.start()
    try:
        only(KafkaReader(), produce(bomb))
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_sasl_bytes_appear_nowhere():
    reader = KafkaReader()
    frames = [
        *reader.from_caller(request(17, 1, text("PLAIN"))),
        *reader.from_callee(answer(struct.pack(">hi", 0, 1) + text("PLAIN"))),
        *reader.from_caller(request(36, 1, struct.pack(">i", 9) + b"\0bob\0pass", correlation=2)),
        *reader.from_callee(answer(struct.pack(">h", 58) + text("pass was wrong") + b"\0" * 12, correlation=2)),
    ]
    assert [frame.begins.operation for frame in frames if frame.begins] == ["SaslHandshake", "SaslAuthenticate"]
    assert frames[-1].error == "SASL_AUTHENTICATION_FAILED"
    for frame in frames:
        assert "pass" not in repr((frame.begins, frame.error, frame.body_hash))


def test_bare_sasl_tokens_end_the_reading():
    reader = KafkaReader()
    only(reader, request(17, 0, text("GSSAPI")))
    only(reader, answer(b"\0\0" + b"\0\0\0\0"), "callee")
    token = framed(b"\0bob\0pass")
    with pytest.raises(BadFrame, match="SASL without Kafka's header"):
        reader.from_caller(token)
    assert reader.unread("caller") == token


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
        (b"GET / HTTP/1.1\r\n", "no Kafka"),
        (framed(b"\0\0\0\3"), "no Kafka"),
        (b"\xff\xff\xff\xff", "no Kafka"),
        (request(-1, 0), "no Kafka"),
        (request(0, -1), "no Kafka"),
    ],
)
def test_what_is_no_request_is_refused_and_given_back(data, why):
    good = produce()
    reader = KafkaReader()
    with pytest.raises(BadFrame, match=why):
        reader.from_caller(data)
    assert reader.unread("caller") == data
    reader = KafkaReader()
    with pytest.raises(BadFrame, match=why):
        reader.from_caller(good + data)
    assert reader.unread("caller") == good + data


def test_an_answer_that_nobody_asked_for_is_refused():
    reader = KafkaReader()
    only(reader, produce(correlation=4))
    with pytest.raises(BadFrame, match="nobody asked"):
        reader.from_callee(answer(correlation=5))
    assert reader.unread("callee") == answer(correlation=5)


def test_an_unknown_kind_or_version_is_passed_on_by_its_name():
    reader = KafkaReader()
    assert only(reader, request(999, 3)).begins.operation == "ApiKey 999"
    assert only(reader, request(0, 99, b"noise")).begins.operation == "Produce"
    assert only(reader, request(8, 3, b"\x7f\xff")).begins.operation == "OffsetCommit"
    for _ in range(3):
        only(reader, answer(b"noise"), "callee")


def test_requests_without_an_answer_are_bounded():
    reader = KafkaReader()
    with pytest.raises(BadFrame, match="too many"):
        reader.from_caller(produce() * 10_001)


def large(size):
    """A Produce of so many bytes of records, and what a reader that does not collect it should give."""
    records = batch(IDENTITY, value=b"v" * 100) + random.Random(size).randbytes(size)
    return produce(records)


@settings(deadline=None)
@given(CUTS, st.integers(COLLECTED - 400, COLLECTED + 200_000))
def test_a_frame_is_given_in_parts_where_it_is_large(cuts, size):
    data, after = large(size), produce(correlation=2)
    reader = KafkaReader()
    frames = [frame for part in cut(data + after, cuts) for frame in reader.from_caller(part)]
    assert b"".join(frame.raw for frame in frames) == data + after
    first, last = frames[0], frames[-2]
    assert frames[-1].begins.operation == "Produce orders"
    assert (first.begins.operation, first.begins.headers) == ("Produce orders", READ)
    assert [frame.more for frame in frames[:-1]] == [True] * (len(frames) - 2) + [False]
    assert {first.begins.body_hash, last.body_hash} - {""} == {only(KafkaReader(), data).begins.body_hash}
    assert first.more == (len(frames) > 2)


def test_a_large_answer_ends_its_call_with_its_first_part_and_costs_no_memory():
    reader = KafkaReader()
    call = only(reader, request(1, 4, b"\0" * 17 + b"\0\0\0\0")).begins
    head, rest = (50_000_000).to_bytes(4, "big") + struct.pack(">i", 1) + bytes(100_000), 50_000_000 - 100_004
    (first,) = reader.from_callee(head)
    assert (first.answers, first.more) == ((call.id,), True)
    chunk = bytes(64 * 1024)
    tracemalloc.start()
    try:
        given_ = 0
        while given_ < rest:
            (part,) = reader.from_callee(chunk[: rest - given_])
            given_ += len(part.raw)
            assert (part.answers, part.more) == ((), given_ < rest)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_mutated_streams_never_crash_nor_hang_nor_lose_a_byte():
    dice = random.Random(8)
    pool = [*EXCHANGES.values(), (produce(batch(IDENTITY)), answer(b"\0" * 20)), (request(11, 9, b"\0" * 30), answer())]
    refused = 0
    for _ in range(2000):
        chosen = dice.choices(pool, k=3)
        reader = KafkaReader(advertised=told({"*": "link:1"}))
        for side in (0, 1):
            data = bytearray(b"".join(one[side] for one in chosen))
            for _ in range(dice.choice((0, 1, 3, 30))):
                data[dice.randrange(len(data))] = dice.randrange(256)
            refused += mutated(reader, bytes(data), "caller" if side == 0 else "callee", dice)
    assert 400 < refused < 3600, refused


def mutated(reader, data, side, dice):
    """Feed a stream in pieces; whatever happens, its bytes come out again (an answer's with its addresses)."""
    feed = reader.from_caller if side == "caller" else reader.from_callee
    out, taken = [], 0
    try:
        for piece in cut(data, [dice.randrange(len(data)) for _ in range(dice.randrange(6))]):
            taken += len(piece)
            out += [frame.raw for frame in feed(piece)]
        why = ""
    except BadFrame as bad:
        why = str(bad)
    out.append(reader.unread(side))
    if side == "caller":
        assert b"".join(out) == data[:taken]
    else:
        assert len(b"".join(out)) <= taken + 1000
    assert len(why) < 60
    return bool(why)


@settings(deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300), CUTS)
def test_noise_gives_frames_or_bad_frame(asked, answered, cuts):
    reader = KafkaReader()
    for side, data in (("caller", asked), ("callee", answered)):
        feed = reader.from_caller if side == "caller" else reader.from_callee
        out, taken = [], 0
        try:
            for piece in cut(data, cuts):
                taken += len(piece)
                out += [frame.raw for frame in feed(piece)]
        except BadFrame:
            pass
        assert b"".join((*out, reader.unread(side))) == data[:taken]


@pytest.mark.parametrize("name", ADVERTISING)
@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "a-much-longer-name.of-a-link.test:65535", f"{'l' * 200}.test:19092"]
)
def test_addresses_that_a_real_broker_advertised_are_rewritten(name, address):
    reader = KafkaReader(advertised=told({"1": address}))
    asked, answered = EXCHANGES[name]
    only(reader, asked)
    (frame,) = reader.from_callee(answered)
    host, _, port = address.rpartition(":")
    assert frame.raw == framed(replaced(name, answered[4:], host, int(port)))
    assert HOST.encode() + int(PORT).to_bytes(4, "big") not in frame.raw


def replaced(name, data, host, port):
    """Replace the bytes of the address, size included, as they stand in that version; every one of them."""
    kind, version = name.split()
    flexible = int(version) >= {"Metadata": 9, "FindCoordinator": 3, "DescribeCluster": 0}[kind]

    def written(text_):
        size = len(text_) + 1
        long = bytes((size & 0x7F | 0x80, size >> 7)) if size > 127 else bytes((size,))
        return (long if flexible else len(text_).to_bytes(2, "big")) + text_

    old = written(HOST.encode()) + int(PORT).to_bytes(4, "big")
    assert data.count(old) == (2 if kind == "FindCoordinator" and int(version) >= 4 else 1)
    return data.replace(old, written(host.encode()) + port.to_bytes(4, "big"))


def test_only_named_brokers_are_rewritten_and_their_address_wins_over_their_id():
    asked, answered = EXCHANGES["Metadata 12"]
    for mapping, written in (
        ({"2": "link:7"}, None),
        ({f"{HOST}:1": "link:7"}, None),
        ({"*": None}, b"\x04own\0\0\0\x09"),
        ({"1": "id:7", "*": "any:7"}, b"\x03id\0\0\0\x07"),
        ({CAPTURED["advertised"]: "address:7", "1": "id:7"}, b"\x08address\0\0\0\x07"),
    ):
        reader = KafkaReader(advertised=told(mapping))
        only(reader, asked)
        (frame,) = reader.from_callee(answered)
        if written is None:
            assert frame.raw == answered
        else:
            assert written in frame.raw


OTHER_PORT = ("127.0.0.1", 9)


@pytest.mark.parametrize("name", ADVERTISING)
@pytest.mark.parametrize(
    ("own", "mapping", "counted"),
    [
        (OTHER_PORT, None, True),
        (OTHER_PORT, {"2": None}, True),
        (OTHER_PORT, {"1": None}, False),
        (OTHER_PORT, {"*": "another-link:7"}, False),
        ((HOST, int(PORT)), None, False),
        (("10.0.0.1", int(PORT)), None, True),
    ],
    ids=["its own", "another broker's is rewritten", "rewritten", "to another link", "the link's", "a port alike"],
)
def test_an_address_that_leads_off_the_link_is_counted(name, own, mapping, counted):
    advertised = None if mapping is None else Advertised(mapping, own="{}:{}".format(*own))
    counts = {}
    elsewhere = Elsewhere(counts, own=own, advertised=advertised)
    for _ in range(2):
        reader = KafkaReader(advertised=advertised, elsewhere=elsewhere)
        asked, answered = EXCHANGES[name]
        only(reader, asked)
        reader.from_callee(answered)
    assert counts == ({CAPTURED["advertised"]: 2} if counted else {})


def test_a_name_with_the_links_port_is_taken_for_the_link():
    counts = {}
    advertised = Advertised({"1": "localhost:7"}, own="127.0.0.1:7")
    asked, answered = EXCHANGES["Metadata 0"]
    rewriting = KafkaReader(advertised=advertised)
    only(rewriting, asked)
    (frame,) = rewriting.from_callee(answered)
    reader = KafkaReader(elsewhere=Elsewhere(counts, own=("127.0.0.1", 7), advertised=None))
    only(reader, asked)
    only(reader, frame.raw, "callee")
    assert counts == {}


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"x": "a:1"}, "advertise: key 'x'"),
        ({7: "a:1"}, "advertise: key 7"),
        ({"1": "a"}, r"advertise\['1'\]='a': must be host:port"),
        ({"1": "a:0"}, "from 1 to 65535"),
        ({"1": "a:65536"}, "from 1 to 65535"),
        ({"1": "a:" + "9" * 5000}, "from 1 to 65535"),
        ({"1": "a" * 256 + ":1"}, "1 to 255 bytes"),
        ({"1": 7}, r"advertise\['1'\]=7"),
        (["1"], "advertise=.*must be an object"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(mapping, said):
    with pytest.raises(ChaosError, match=said):
        KafkaReader(advertised=told(mapping))


def test_error_names_are_those_that_a_client_library_knows():
    errors = pytest.importorskip("aiokafka.errors")
    differ = {code for code, kind in errors.kafka_errors.items() if kind.message != error_name(code)}
    assert len(errors.kafka_errors) > 70
    assert differ == {-1, 0, 6, 10, 13, 17, 39}, "these have been renamed since, or are called by other words there"
    assert error_name(27) == "REBALANCE_IN_PROGRESS"
    assert error_name(4711) == "ERROR_4711"
