"""However a message is cut into pieces, its body ends where its framing says."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_chaos.wire.http1.messages import BadMessage, Body, Head, build, parse_request, parse_response
from pytest_chaos.wire.stub import Answer


def pieces(data, cuts):
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def chunked(parts, trailer=b""):
    return b"".join(b"%x;ext=1\r\n%s\r\n" % (len(part), part) for part in parts if part) + b"0\r\n" + trailer + b"\r\n"


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(st.lists(st.binary(max_size=40), max_size=5), CUTS, st.sampled_from([b"", b"X-Sum: 1\r\n"]))
def test_a_chunked_body_carries_its_content_and_ends_at_its_end(parts, cuts, trailer):
    body, content, used = Body(chunked=True), b"", 0
    for piece in pieces(chunked(parts, trailer) + b"NEXT", cuts):
        if body.done:
            break
        size, carried = body.feed(piece)
        used += size
        content += carried
    assert body.done
    assert content == b"".join(parts)
    assert used == len(chunked(parts, trailer))


@given(st.binary(min_size=1, max_size=80), CUTS)
def test_a_counted_body_ends_at_its_count(data, cuts):
    body, content = Body(length=len(data)), b""
    for piece in pieces(data + b"NEXT", cuts):
        content += body.feed(piece)[1]
    assert (content, body.done) == (data, True)


@given(st.binary(max_size=60))
def test_noise_for_chunks_is_refused_or_waited_for(noise):
    body = Body(chunked=True)
    try:
        size, _ = body.feed(noise)
    except BadMessage:
        return
    assert size <= len(noise)


@given(st.binary(max_size=200))
def test_noise_for_a_head_is_refused_or_read(noise):
    for parse in (parse_request, parse_response):
        try:
            parse(noise + b"\r\n\r\n").body()
        except BadMessage:
            continue


@pytest.mark.parametrize(
    ("head", "method", "done", "until_close"),
    [
        (b"200 OK\r\nContent-Length: 3", "GET", False, False),
        (b"200 OK\r\nContent-Length: 3", "HEAD", True, False),
        (b"204 No Content", "GET", True, False),
        (b"304 Not Modified\r\nContent-Length: 3", "GET", True, False),
        (b"200 OK", "GET", False, True),
        (b"200 OK\r\nTransfer-Encoding: gzip, chunked", "GET", False, False),
        (b"200 OK\r\nContent-Length: 0", "GET", True, False),
    ],
)
def test_an_answers_body_is_framed_as_the_rfc_says(head, method, done, until_close):
    request = Head()
    request.method = method
    body = parse_response(b"HTTP/1.1 " + head + b"\r\n\r\n").body(request=request)
    assert (body.done, body.until_close) == (done, until_close)


@pytest.mark.parametrize(
    ("line", "operation"),
    [
        (b"GET /a/b?c=/d", "GET /a/b"),
        (b"POST http://host:1/a?b", "POST /a"),
        (b"OPTIONS *", "OPTIONS *"),
    ],
)
def test_an_operation_is_method_and_path(line, operation):
    assert parse_request(line + b" HTTP/1.1\r\nHost: x\r\n\r\n").operation == operation


def test_two_framings_at_once_are_refused():
    with pytest.raises(BadMessage):
        parse_request(b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n")


@given(st.integers(200, 599), st.binary(max_size=50), st.sampled_from(["GET", "HEAD"]), st.booleans())
def test_an_answer_of_our_own_reads_as_what_was_meant(status, content, method, keep_alive):
    request = Head()
    request.method, request.keep_alive = method, keep_alive
    raw = build(Answer(status=status, headers={"X-A": "b"}, body=content), request=request)
    head_size = raw.index(b"\r\n\r\n") + 4
    head = parse_response(raw[:head_size])
    assert (head.status, head.fields["x-a"], "connection" in head.fields) == (status, "b", not keep_alive)
    body = head.body(request=request)
    assert raw[head_size:] == (b"" if body.done else content)
