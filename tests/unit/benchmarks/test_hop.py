from __future__ import annotations

import pytest

from benchmarks.hop.clients import Bodies, Http1
from benchmarks.hop.contenders import Contender
from benchmarks.hop.grpc import _MESSAGE, _OPENING, Grpc, GrpcTraced, _frame, _Frames
from benchmarks.hop.measure import LOADS, Seen, goals
from benchmarks.rows import row
from pytest_chaos.wire.http2.header_reader import HeaderReader


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_messages_are_counted_however_they_come(step):
    said, counted = b"".join(Http1.requests(3)), Bodies(Http1.size)
    found = sum(counted.feed(said[at : at + step]) for at in range(0, len(said), step))
    assert found == len(Http1.requests(3))


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_ended_streams_are_told_and_settings_acknowledged(step):
    written, found = [], []
    frames = _Frames(written.append, pytest.fail)
    said = _OPENING + _frame(0, 0, 1, _MESSAGE) + _frame(1, 5, 1, b"") + _frame(0, 1, 3, _MESSAGE)
    for at in range(0, len(said), step):
        found += frames.ended(said[at : at + step])
    assert found == [1, 3]
    assert written == [_frame(4, 1, 0, b"")]


@pytest.mark.parametrize("kind", [Grpc, GrpcTraced])
def test_header_blocks_can_be_said_again_from_the_first(kind):
    reader, blocks = HeaderReader(), kind.requests(1)
    reader.allow_table(4096)
    traces = [reader.read(block).fields.get("traceparent") for block in blocks * 2]
    assert len(set(traces)) == (len(blocks) if kind.traced else 1)
    assert traces[: len(blocks)] == traces[len(blocks) :]


def test_what_a_hop_adds_is_beyond_the_direct_way_of_the_same_round():
    seen = Seen()
    for direct, ours in ((10.0, 15.0), (100.0, 103.0)):
        seen.note(Contender(name="direct", port=1), {"p50_us": direct, "p99_us": direct, "cpu_us": 0.0})
        seen.note(Contender(name="ours", port=2, pid=3), {"p50_us": ours, "p99_us": ours, "cpu_us": 7.0})
    seen.added()
    assert seen.values["added_p50_us"] == {"ours": [5.0, 3.0]}
    assert seen.values["cpu_us"] == {"ours": [7.0, 7.0]}


@pytest.mark.parametrize(
    ("rate", "added", "verdicts"), [(20.0, 40.0, ["met", "met"]), (19.0, 41.0, ["MISSED", "MISSED"])]
)
def test_goals_are_judged_by_medians(rate, added, verdicts):
    said = goals(
        LOADS["grpc"],
        rate=row("calls", "requests/s", [rate], {"envoy": [20.0]}),
        added=row("added", "us", [added], {"envoy": [80.0]}),
    )
    assert [one.rpartition(" ")[2] for one in said] == verdicts


def test_a_goal_without_its_peer_is_not_claimed():
    bare = row("calls", "requests/s", [1.0], {})
    assert goals(LOADS["http1"], rate=bare, added=bare) == ()
