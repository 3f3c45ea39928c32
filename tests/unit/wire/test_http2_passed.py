"""A call that is passed on at once is recorded, answered and broken off just as one that goes the long way."""

from __future__ import annotations

import hashlib

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_chaos.wire.connection import PREFACE
from pytest_chaos.wire.http2 import frames
from pytest_chaos.wire.http2.frames import build
from tests.unit.wire.two_ways import TIMES, play, same_both_ways

END, HEADERS, DATA = frames.END_STREAM, frames.HEADERS, frames.DATA
WHOLE = frames.END_HEADERS
HELLO = PREFACE + build(frames.SETTINGS, 0, 0)
MESSAGE = b"\0\0\0\0\3\x0a\x01k"
GRPC = ((":method", "POST"), (":path", "/a.B/C"), ("content-type", "application/grpc"), ("te", "trailers"))
PLAIN = ((":method", "POST"), (":path", "/up?x"), ("content-type", "text/plain"))
CALLS = (
    "whole", "two messages", "half a message", "no message", "h2", "bodyless", "cut", "padded", "and credit", "open",
)  # fmt: skip
ANSWERS = (
    "whole", "two messages", "with words", "trailers only", "not found", "no status", "reset", "refused", "cut",
    "padded", "goaway", "credit", "open", "twice",
)  # fmt: skip
LAST = ("caller eof", "callee eof", "caller lost", "callee lost")


class Talk:
    """What both sides say; the caller's streams have other numbers than the callee's."""

    def __init__(self):
        self.steps = [("caller", HELLO), ("callee", build(frames.SETTINGS, 0, 0))]
        self._caller, self._callee, self._calls = hpack.Encoder(), hpack.Encoder(), 0

    def call(self, shape):
        number, encode = 5 + 2 * self._calls, self._caller.encode
        self._calls += 1
        fields = [*(PLAIN if shape == "h2" else GRPC), ("traceparent", f"00-{number:032x}-{number:016x}-01")]
        head = build(HEADERS, WHOLE | (END if shape == "bodyless" else 0), number, encode(fields))
        contents = {"two messages": MESSAGE * 2, "half a message": MESSAGE[:6], "no message": b""}
        data = build(DATA, END, number, contents.get(shape, MESSAGE))
        if shape == "padded":
            data = build(DATA, END | frames.PADDED, number, b"\2" + MESSAGE + b"xx")
        self._say("caller", shape, number, head, {"bodyless": b"", "open": b""}.get(shape, data))

    def answer(self, shape, number):
        encode = self._callee.encode
        if shape in {"reset", "refused", "goaway"}:
            code = frames.REFUSED_STREAM if shape == "refused" else frames.CANCEL
            away = build(frames.GOAWAY, 0, 0, (number - 2 & 0x7FFFFFFF).to_bytes(4, "big") + bytes(4))
            self.steps.append(("callee", away if shape == "goaway" else frames.rst_stream(number, code)))
            return
        fields = [(":status", "404" if shape == "not found" else "200"), ("content-type", "application/grpc")]
        trailers = [] if shape == "no status" else [("grpc-status", "5" if shape == "with words" else "0")]
        if shape == "with words":
            trailers += [("grpc-message", "no such"), ("grpc-retry-pushback-ms", "7")]
        if shape == "trailers only":
            self.steps.append(("callee", build(HEADERS, WHOLE | END, number, encode(fields + trailers))))
            return
        head = build(HEADERS, WHOLE, number, encode(fields))
        data = build(DATA, 0, number, MESSAGE * (2 if shape == "two messages" else 1))
        if shape == "padded":
            data = build(DATA, frames.PADDED, number, b"\2" + MESSAGE + b"xx")
        last = b"" if shape == "open" else build(HEADERS, WHOLE | END, number, encode(trailers))
        self._say("callee", shape, number, head, data + last)
        if shape == "twice":
            self.steps.append(("callee", build(DATA, END, number, MESSAGE)))

    def _say(self, who, shape, number, head, rest):
        credit = frames.window_update(number if shape == "and credit" else 0, 9) if "credit" in shape else b""
        self.steps += [(who, head), (who, rest)] if shape == "cut" else [(who, credit + head + rest)]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_the_ways_are_the_same_for_every_answer_to_every_call(tmp_path, call, answer):
    for last in LAST:
        talk = Talk()
        for shape in ("whole", call):
            talk.call(shape)
        talk.answer("whole", 1)
        talk.answer(answer, 3)
        talk.call("whole")
        talk.answer("whole", 5)
        talk.call("whole")
        same_both_ways(tmp_path / "s", [*talk.steps, (last, b"")])


@given(
    st.lists(
        st.one_of(
            st.sampled_from(CALLS),
            st.tuples(st.sampled_from(ANSWERS), st.integers(0, 3)),
            st.integers(0, 3),
            st.sampled_from(LAST).map(lambda last: [last]),
        ),
        max_size=12,
    )
)
def test_the_short_way_and_the_long_way_are_told_apart_by_nothing(tmp_path_factory, steps):
    talk = Talk()
    for step in steps:
        if isinstance(step, str):
            talk.call(step)
        elif isinstance(step, tuple):
            talk.answer(step[0], 1 + 2 * step[1])
        elif isinstance(step, int):
            talk.steps.append(("caller", frames.rst_stream(5 + 2 * step, frames.CANCEL)))
        else:
            talk.steps.append((step[0], b""))
    same_both_ways(tmp_path_factory.mktemp("spool") / "s", talk.steps)


def test_the_usual_call_is_recorded_whole(tmp_path):
    talk = Talk()
    for number in (1, 3):
        talk.call("whole")
        talk.answer("whole", number)
    open_, _, rows = play(tmp_path / "s", talk.steps)
    assert open_ == []
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
        "protocol": "grpc",
        "operation": "/a.B/C",
        "request_headers": {"content-type": "application/grpc", "traceparent": f"00-{7:032x}-{7:016x}-01"},
        "response_headers": {"content-type": "application/grpc"},
        "body_hash": hashlib.blake2b(MESSAGE, digest_size=8).hexdigest(),
        "grpc_status": 0,
        "upstream_grpc_status": 0,
        "request_bytes": rows[1]["request_bytes"],
        "response_bytes": len(MESSAGE),
        "request_messages": 1,
        "response_messages": 1,
        "marker": "k",
    }
    assert rows[1]["request_bytes"] > len(MESSAGE) + frames.HEAD
