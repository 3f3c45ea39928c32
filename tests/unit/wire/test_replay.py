"""What wire delivers itself: the same bytes, an answer read to its end, the callee's flow control kept."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_chaos.wire.connection import PREFACE
from pytest_chaos.wire.http1.messages import BadMessage, edited, parse_request, reframed
from pytest_chaos.wire.http2 import frames
from pytest_chaos.wire.http2.call import Http2Call
from pytest_chaos.wire.http2.frames import BadFrame, FrameReader
from pytest_chaos.wire.http2.grpc import Messages
from pytest_chaos.wire.http2.header_reader import HeaderReader
from pytest_chaos.wire.http2.headers import Block, HeaderWriter
from pytest_chaos.wire.replay import Copy, Http1Call

RAW = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nT: 1\r\n\r\n"
ANSWERS = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: 1\r\n\r\nabc": (200, 3),
    b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED: (201, 2),
    b"HTTP/1.1 204 No Content\r\n\r\n": (204, 0),
}


def http1():
    head, body = RAW[:-2], RAW[-2:]
    return Http1Call(Copy(reach=None, target="/x", fields={}, body=body, raw=RAW, head=parse_request(head)))


def pieces(data, cuts):
    at = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise(at)]


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(0, 500), max_size=8))
def test_an_answer_is_read_to_its_end_however_it_is_cut(answer, cuts):
    call = http1()
    assert call.begin() == RAW
    for piece in pieces(answer, cuts):
        assert not call.done
        call.feed(piece)
    assert call.done
    assert (call.status, call.size, call.error) == (*ANSWERS[answer], "")


@pytest.mark.parametrize(
    ("said", "error", "done"),
    [
        (b"", "eof", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "truncated", False),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", "", True),
    ],
)
def test_an_answer_that_ends_early_is_told(said, error, done):
    call = http1()
    call.feed(said)
    call.ended()
    assert (call.error, call.done) == (error, done)


@given(st.binary(max_size=200))
def test_whatever_a_callee_answers_is_read_or_refused(data):
    for call, wrong in ((http1(), BadMessage), (Http2Call(Block([]), b"", None), BadFrame)):
        call.begin()
        try:
            call.feed(data)
        except wrong:
            continue
        call.ended()
        assert call.done or call.error


@settings(max_examples=100)
@given(
    st.integers(0, 200_000).map(bytes),
    st.integers(0, 70_000),
    st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(1, 60_000)), max_size=20),
    st.booleans(),
)
def test_the_callees_windows_are_kept_and_the_whole_body_goes(body, initial, credits_, trailed):
    call = Http2Call(Block([(b":method", b"POST")]), body, Block([(b"x-t", b"1")]) if trailed else None)
    reader, seen = FrameReader(preface=len(PREFACE)), []
    seen += reader.feed(call.begin())
    allowed, sent_before = {0: 65_535, 1: 65_535}, 0
    setting = (4).to_bytes(2, "big") + initial.to_bytes(4, "big")

    def check():
        sent = sum(len(frame.content()) for frame in seen if frame.kind == frames.DATA)
        assert sent <= max(sent_before, min(allowed.values()))
        return sent

    sent_before = check()
    seen += reader.feed(call.feed(frames.build(frames.SETTINGS, 0, 0, setting)))
    allowed[1] = initial
    sent_before = check()
    for stream, size in (*credits_, (0, 200_000), (1, 300_000)):
        allowed[stream] += size
        seen += reader.feed(call.feed(frames.window_update(stream, size)))
        sent_before = check()
    data = [frame for frame in seen if frame.kind == frames.DATA]
    assert b"".join(frame.content() for frame in data) == body
    assert sum(bool(frame.flags & frames.END_STREAM) for frame in seen if frame.stream == 1) == 1
    assert seen[-1].flags & frames.END_STREAM or not trailed


def test_a_grpc_answer_is_read_with_its_trailers():
    call = Http2Call(Block([]), b"", None)
    call.begin()
    writer = HeaderWriter()
    head = writer.frames(1, Block([(b":status", b"200"), (b"content-type", b"application/grpc")]), end=False)
    data = frames.build(frames.DATA, 0, 1, b"\0\0\0\0\1x")
    tail = writer.frames(1, Block([(b"grpc-status", b"9")]), end=True)
    ping = frames.build(frames.PING, 0, 0, b"12345678")
    assert call.feed(head + ping) == frames.build(frames.PING, frames.ACK, 0, b"12345678")
    assert call.feed(data + tail) == b""
    assert (call.status, call.grpc_status, call.size, call.done) == (200, 9, 6, True)


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (frames.rst_stream(1, frames.REFUSED_STREAM), "refused"),
        (frames.rst_stream(1, frames.CANCEL), "reset"),
        (frames.build(frames.GOAWAY, 0, 0, bytes(8)), "refused"),
    ],
)
def test_a_callee_that_refuses_or_resets_is_told(frame, error):
    call = Http2Call(Block([]), b"", None)
    call.begin()
    call.feed(frame)
    assert (call.error, call.done) == (error, True)


ZEROS = st.integers(0, 12).map(bytes)


@settings(max_examples=300)
@given(st.lists(ZEROS, max_size=6), st.lists(st.integers(0, 60), max_size=10), st.integers(1, 7))
def test_messages_are_counted_however_their_bytes_are_cut(messages, cuts, limit):
    data = b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in messages)
    counter, passed, at = Messages(), 0, None
    for piece in pieces(data, cuts):
        at = counter.feed(b"padding" + piece, 7, limit=limit)
        if at is not None:
            passed += at - 7
            break
        passed += len(piece)
    assert (at is not None) == (len(messages) >= limit)
    assert counter.count == min(limit, len(messages))
    assert passed == sum(5 + len(message) for message in messages[:limit])


HEAD = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\nx-a: 2\r\n folded\r\nX-Ab: 3\r\n\r\n"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("x-a", None, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Ab: 3\r\n\r\n"),
        ("x-a", "9", b"HTTP/1.1 200 OK\r\nX-A: 9\r\nContent-Length: 5\r\nX-Ab: 3\r\n\r\n"),
        ("x-new", "9", HEAD[:-2] + b"x-new: 9\r\n\r\n"),
        ("x-absent", None, HEAD),
    ],
)
def test_a_head_is_edited_line_by_line(name, value, expected):
    assert edited(HEAD, name, value) == expected


@pytest.mark.parametrize(("size", "by", "length"), [(None, 0, 5), (3, 0, 3), (None, 4, 9), (None, -9, 0), (99, 0, 5)])
def test_an_answer_is_framed_anew(size, by, length):
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n"
    for head, body in ((HEAD, b"abcde"), (chunked, b"2\r\nab\r\n3\r\ncde\r\n0\r\nT: 1\r\n\r\n")):
        framed, content = reframed(head, body, chunked=head is chunked, size=size, by=by)
        assert content == b"abcde"[:size]
        assert b"content-length: %d\r\n" % length in framed.lower()
        assert b"chunked" not in framed
        assert framed.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("name", "value", "add", "expected"),
    [
        ("a", None, True, [(b":status", b"200")]),
        ("a", "2", False, [(b":status", b"200"), (b"a", b"2")]),
        ("b", "2", True, [(b":status", b"200"), (b"a", b"1"), (b"b", b"2")]),
        ("b", "2", False, [(b":status", b"200"), (b"a", b"1")]),
    ],
)
def test_a_header_block_is_edited(name, value, add, expected):
    block = Block([(b":status", b"200"), (b"a", b"1")])
    changed = block.edited(name, value, add=add)
    assert changed.headers == expected
    assert (changed is block) == (expected == block.headers)
    assert HeaderReader().read(changed.literals).headers == expected
