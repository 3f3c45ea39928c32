"""What wire knows of Kafka's messages is what the installed Kafka's own definitions say, in every version."""

from __future__ import annotations

import base64
import os
import random
from pathlib import Path

import pytest

from pytest_chaos.errors import PartMissing
from pytest_chaos.parts import kafka as part
from pytest_chaos.wire.kafka import api as kafka_api
from pytest_chaos.wire.kafka.addresses import Advertised
from pytest_chaos.wire.kafka.layout import typed
from pytest_chaos.wire.kafka.reader import KafkaReader
from tests.conformance.wire import kafka_schema

TOLD = "link.test:1234"
TOP_ONLY = {"Fetch", "ShareFetch", "ShareAcknowledge"}


@pytest.fixture(scope="module")
def definitions():
    """Requests and answers by API key."""
    try:
        return kafka_schema.load(Path(part.find(os.environ).require()))
    except PartMissing as missing:
        pytest.skip(str(missing))


def every(definitions, layouts=None):
    """Give each request and its answer that the installed Kafka takes, in each version."""
    requests, answers = definitions
    for key, asked in requests.items():
        for version in asked.valid:
            if layouts is None or kafka_api.NAMES[key] in layouts:
                yield asked, answers[key], version


def test_names_and_flexible_versions_are_kafkas(definitions):
    requests, _ = definitions
    assert {key: asked.name for key, asked in requests.items()} == dict(enumerate(kafka_api.NAMES))
    for asked, answered, version in every(definitions):
        about = kafka_api.shape(asked.key, version)
        assert about.flexible == (version in asked.flexible), (asked.name, version)
        assert asked.flexible == answered.flexible


def test_the_versions_that_are_known_are_kafkas(definitions):
    requests, _ = definitions
    latest = {asked.name: asked.valid[-1] for asked in requests.values() if asked.valid}
    assert {name: latest[name] for name in kafka_api._LATEST} == kafka_api._LATEST
    assert set(kafka_api._LATEST) >= {*kafka_api.REQUESTS, *kafka_api.ANSWERS, *kafka_api.ADDRESSES}


def test_layouts_are_kafkas(definitions):
    seen = set()
    for asked, answered, version in every(definitions):
        about = kafka_api.shape(asked.key, version)
        # A plain string that is an array's first element is read as a struct's first field is.
        asks = asked.layout(version).replace("*s", "[s]")
        assert asks.startswith(typed(about.request).rstrip("]")), (asked.name, version)
        for layout in (about.answer, about.topic_ids, about.addresses):
            assert answered.layout(version).startswith(typed(layout)), (asked.name, version, layout)
        seen |= {layout for layout in (about.request, about.answer, about.topic_ids, about.addresses) if layout}
    unseen = {
        layout
        for layouts in (kafka_api.REQUESTS, kafka_api.ANSWERS, kafka_api.TOPIC_IDS, kafka_api.ADDRESSES)
        for by_version in layouts.values()
        for layout in by_version.values()
    } - seen
    # Versions that Kafka 4 does not take any more are read as Kafka's documents say, and shown by unit tests.
    assert unseen <= {"Ai[S[iR]]", "iii[S]", "iiii[S]", "[S]", "[s[iEq]]", "[s[iEqq]]", "i[S]"}, unseen


def test_every_answer_with_an_address_is_rewritten(definitions):
    """What is missing here would let a client leave its link."""
    _, answers = definitions
    within = {
        answered.name
        for answered in answers.values()
        for version in answered.valid
        if "Port" in repr(answered.fields) and "[siis]" not in answered.layout(version)
    }
    brokers_own = {"DescribeQuorum", "Vote", "BeginQuorumEpoch", "EndQuorumEpoch", "FetchSnapshot", "UpdateRaftVoter"}
    streams_own = {"StreamsGroupHeartbeat", "StreamsGroupDescribe"}  # members' own endpoints, no broker's
    assert within - brokers_own - streams_own == set(kafka_api.ADDRESSES)


def test_made_up_requests_are_read(definitions):
    dice = random.Random(11)
    for asked, _, version in every(definitions):
        for _ in range(5):
            value = asked.made_up(version, dice)
            raw = kafka_schema.request(asked, version, value, correlation=7)
            reader = KafkaReader()
            (frame,) = reader.from_caller(raw)
            subject = _subject(asked.name, value)
            assert frame.raw == raw
            assert frame.begins.operation == f"{asked.name} {subject}".rstrip(), (asked.name, version, value)
            assert frame.begins.answered == (asked.name != "Produce" or value["Acks"] != 0)
            if frame.begins.answered:
                assert reader._asked[0].correlation == 7


def _subject(name, value):
    """Give the first topic, group, key or transaction of a request; empty: none."""
    if name not in kafka_api.REQUESTS:
        return ""
    if name == "TxnOffsetCommit":
        return value["GroupId"]
    if name == "Produce":  # made-up topics may have no name or no partition
        topics = [(_shown(next(iter(topic.values()))), topic["PartitionData"]) for topic in value["TopicData"]]
        last = next((number for number, (_, partitions) in enumerate(topics) if partitions), len(topics))
        return next((text for text, _ in topics[: last + 1] if text), "")
    field = next(field for field in value.values() if isinstance(field, (list, str)) or field is None)
    if isinstance(field, list) and field:
        field = field[0]
        if isinstance(field, dict):
            field = next(one for one in field.values() if isinstance(one, (str, bytes)) or one is None)
    return _shown(field) if field else ""


def _shown(value):
    return value if isinstance(value, str) else base64.urlsafe_b64encode(value).decode().rstrip("=")


def test_made_up_errors_are_named(definitions):
    dice = random.Random(12)
    named = 0
    for asked, answered, version in every(definitions, kafka_api.ANSWERS):
        if not kafka_api.shape(asked.key, version).answer:
            continue
        for _ in range(8):
            value = answered.made_up(version, dice)
            frame = exchange(asked, answered, version, value, dice=dice)
            codes = [code for code in _codes(value, deep=asked.name not in TOP_ONLY) if code]
            assert frame.error == (kafka_api.error_name(codes[0]) if codes else ""), (asked.name, version, value)
            named += bool(codes)
    assert named > 200


def _codes(value, *, deep):
    for name, field in value.items():
        if name.endswith("ErrorCode"):
            yield field
        elif deep and isinstance(field, list):
            for one in field:
                if isinstance(one, dict):
                    yield from _codes(one, deep=True)


def exchange(asked, answered, version, value, *, dice, **options):
    """Let a reader see a made-up request and its answer; give the answer's frame."""
    reader = KafkaReader(**options)
    given = asked.made_up(version, dice)
    if "Acks" in given:
        given["Acks"] = 1
    reader.from_caller(kafka_schema.request(asked, version, given, correlation=-3))
    (frame,) = reader.from_callee(kafka_schema.answer(answered, version, value, correlation=-3))
    assert frame.answers == (1,)
    return frame


def test_made_up_addresses_are_rewritten_and_nothing_else(definitions):
    dice = random.Random(13)
    rewritten = 0
    for asked, answered, version in every(definitions, kafka_api.ADDRESSES):
        if not kafka_api.shape(asked.key, version).addresses:
            continue
        for _ in range(20):
            value = answered.made_up(version, dice)
            raw = kafka_schema.answer(answered, version, value, correlation=-3)
            same = exchange(asked, answered, version, value, dice=dice)
            assert same.raw == raw
            frame = exchange(
                asked, answered, version, value, dice=dice, advertised=Advertised({"1": TOLD, "*": None}, own="[::1]:9")
            )
            assert int.from_bytes(frame.raw[:4], "big") == len(frame.raw) - 4
            tags = int(version in answered.flexible)
            assert frame.raw[4 : 8 + tags] == raw[4 : 8 + tags]
            assert answered.read(version, frame.raw[8 + tags :]) == _told(value), (asked.name, version)
            rewritten += frame.raw != raw
    assert rewritten > 200


def _told(value):
    if isinstance(value, list):
        return [_told(one) for one in value]
    if not isinstance(value, dict):
        return value
    told = {name: _told(field) for name, field in value.items()}
    if "Port" in told and told["Port"] > 0:
        node = told["NodeId"] if "NodeId" in told else told["BrokerId"]
        told["Host"], told["Port"] = ("link.test", 1234) if node == 1 else ("::1", 9)
    return told
