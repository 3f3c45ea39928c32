"""A request that is passed on at once is recorded, answered and broken off just as one that goes the long way."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.two_ways import TIMES, play, same_both_ways

POST = (
    b"POST /pay/7?x=1 HTTP/1.1\r\nHost: a\r\nX-Correlation-ID: c-1\r\nContent-Type: application/json\r\n"
    b'Content-Length: 11\r\n\r\n{"id": "k"}'
)
REQUESTS = (
    POST,
    b"\r\n" + POST,
    b"GET / HTTP/1.1\r\nHost: a\r\nbaggage: a=1\r\nbaggage: b=2\r\n\r\n",
    b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /old HTTP/1.0\r\n\r\n",
    b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /bad HTTP/1.1\r\nContent-Length: x\r\n\r\n",
)
FINE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Correlation-ID: c-1\r\nContent-Length: 5\r\n\r\nhello"
ANSWERS = (
    FINE,
    FINE + b"more",
    b"HTTP/1.1 100 Continue\r\n\r\n" + FINE,
    b"HTTP/1.1 503 Not Now\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nuntil it closes",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    b"no HTTP at all\r\n\r\n",
)
requests, answers = st.sampled_from(REQUESTS), st.sampled_from(ANSWERS)
said = st.one_of(
    st.tuples(st.just("caller"), st.one_of(requests, requests.map(lambda one: one + POST))),
    st.tuples(st.just("callee"), answers),
    st.sampled_from([("caller eof", b""), ("callee eof", b""), ("caller lost", b""), ("callee lost", b"")]),
)
cuts = st.integers(0, 400)
talks = st.lists(st.tuples(said, cuts), max_size=8).map(
    lambda steps: [
        (who, part) for (who, data), at in steps for part in (data[:at], data[at:]) if part or not (data or at)
    ]
)


@given(talks)
def test_the_short_way_and_the_long_way_are_told_apart_by_nothing(tmp_path_factory, talk):
    same_both_ways(tmp_path_factory.mktemp("spool") / "s", talk)


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_the_ways_are_the_same_for_every_answer_to_every_request(tmp_path, request_, answer):
    for last in ("caller eof", "callee eof", "caller lost", "callee lost"):
        same_both_ways(tmp_path / "s", [("caller", request_), ("callee", answer), ("caller", POST), (last, b"")])


def test_the_usual_request_is_recorded_whole(tmp_path):
    open_, given_, rows = play(tmp_path / "s", [("caller", POST), ("callee", FINE)] * 2)
    assert (open_, given_) == ([], {"caller": [FINE * 2], "callee": [POST * 2]})
    assert [row["reused"] for row in rows] == [False, True]
    times = rows[1].pop("times")
    assert tuple(times) == TIMES
    assert list(times.values()) == sorted(times.values())
    assert rows[1] == {
        "k": "a",
        "id": "a2",
        "link": "a -> b",
        "connection": "c1",
        "reused": True,
        "protocol": "http/1.1",
        "operation": "POST /pay/7",
        "request_headers": {"x-correlation-id": "c-1", "content-type": "application/json"},
        "response_headers": {"content-type": "text/plain", "x-correlation-id": "c-1"},
        "body_hash": hashlib.blake2b(b'{"id": "k"}', digest_size=8).hexdigest(),
        "status": 200,
        "upstream_status": 200,
        "request_bytes": len(POST),
        "response_bytes": len(FINE),
        "marker": "k",
    }
