"""Frames and header blocks survive any cutting; what we encode, others decode."""

from __future__ import annotations

import itertools

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_chaos.wire.http2 import frames
from pytest_chaos.wire.http2.frames import BadFrame, FrameReader, build, renumbered
from pytest_chaos.wire.http2.header_reader import HeaderReader
from pytest_chaos.wire.http2.headers import Block, HeaderWriter

HEADERS = st.lists(st.tuples(st.binary(min_size=1, max_size=8), st.binary(max_size=300)), max_size=8)


def read(data, cuts=()):
    reader, found = FrameReader(), []
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for a, b in itertools.pairwise(edges):
        found += reader.feed(data[a:b])
    return found


@st.composite
def any_frame(draw):
    kind = draw(st.sampled_from([0, 3, 4, 6, 8, 77]))
    size = {3: 4, 6: 8, 8: 4}.get(kind)
    payload = draw(st.binary(max_size=50) if size is None else st.binary(min_size=size, max_size=size))
    return kind, draw(st.integers(0, 255)), draw(st.integers(0, 2**31 - 1)), payload


@given(
    st.lists(any_frame()),
    st.lists(st.integers(0, 5000), max_size=10),
)
def test_frames_come_out_as_they_went_in(parts, cuts):
    found = read(b"".join(build(*part) for part in parts), cuts)
    assert [(frame.kind, frame.flags, frame.stream, frame.payload) for frame in found] == parts


@given(HEADERS, st.booleans(), st.lists(st.integers(0, 5000), max_size=5))
def test_headers_written_are_headers_read(headers, end, cuts):
    writer, reader, theirs = HeaderWriter(), HeaderReader(), hpack.Decoder(max_header_list_size=1 << 20)
    for _ in range(3):
        (frame,) = read(writer.frames(5, Block(headers), end=end), cuts)
        assert (frame.kind, frame.stream, bool(frame.flags & frames.END_STREAM)) == (frames.HEADERS, 5, end)
        assert reader.read(frame.payload).headers == headers
        assert [tuple(header) for header in theirs.decode(frame.payload, raw=True)] == headers


def test_a_long_block_is_continued():
    headers = [(b"a%d" % number, b"v" * 8000) for number in range(7)]
    raw = HeaderWriter().frames(1, Block(headers), end=True)
    assert raw[:3] == (16384).to_bytes(3, "big")
    (frame,) = read(raw)
    assert HeaderReader().read(frame.payload).headers == headers


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from([b":path", b"x-a", b"te"]), st.sampled_from([b"1", b"2", b"long" * 9]))),
        max_size=30,
    )
)
def test_remembered_blocks_mean_what_they_would_mean_decoded_anew(blocks):
    encoder, remembering, plain = hpack.Encoder(), HeaderReader(), hpack.Decoder()
    for block in blocks:
        raw = encoder.encode(block)
        assert remembering.read(raw).headers == [(bytes(n), bytes(v)) for n, v in plain.decode(raw, raw=True)]


NAMES, VALUES = st.sampled_from([b":path", b"x-a", b"te", b"traceparent"]), st.binary(max_size=60)


@given(
    st.lists(st.tuples(st.lists(st.tuples(NAMES, VALUES)), st.sampled_from([None, 0, 60, 150, 4096])), max_size=8),
    st.integers(0, 7),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3),
    st.booleans(),
)
def test_blocks_are_read_and_refused_as_another_implementation_does(blocks, changed, changes, huffman):
    encoder, ours, theirs = hpack.Encoder(), HeaderReader(), hpack.Decoder()
    for number, (headers, size) in enumerate(blocks):
        if size is not None:
            encoder.header_table_size = size
        block = bytearray(encoder.encode(headers, huffman=huffman))
        for at, byte in changes if number == changed and block else ():
            block[at % len(block)] = byte
        try:
            wanted = [(bytes(name), bytes(value)) for name, value in theirs.decode(bytes(block), raw=True)]
        except hpack.HPACKError:
            with pytest.raises(BadFrame):
                ours.read(bytes(block))
            return
        assert ours.read(bytes(block)).headers == wanted


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # entry 0
        b"\xbe",  # the table is empty
        b"\x82\x20",  # a table's size behind a header
        b"\x3f\xe2\x1f",  # 4097 bytes of table
        b"\x00\x05a",  # a name that ends too early
        b"\x00\x81\xff\x00",  # Huffman padding of eight bits
        b"\x7f\xff\xff\xff\xff\xff\x01",  # a number too long
        b"\x00\x01a\x7f\x81\xff\x03" + b"x" * 65_536,  # more than 64 KiB of headers
    ],
)
def test_a_block_that_is_none_is_refused(block):
    with pytest.raises(hpack.HPACKError):
        hpack.Decoder().decode(block, raw=True)
    with pytest.raises(BadFrame):
        HeaderReader().read(block)


def test_remembered_blocks_are_forgotten_when_the_table_changes():
    encoder, reader = hpack.Encoder(), HeaderReader()
    first = encoder.encode([(b"x-a", b"1")])
    again = encoder.encode([(b"x-a", b"1")])
    assert first != again
    assert reader.read(first).headers == reader.read(again).headers == [(b"x-a", b"1")]
    reader.read(encoder.encode([(b"x-b", b"2")]))
    assert reader.read(again).headers == [(b"x-b", b"2")]


def test_padding_and_priority_are_no_headers_and_no_content():
    block = HeaderWriter().frames(1, Block([(b"a", b"b")]), end=False)[9:]
    padded = build(
        frames.HEADERS,
        frames.END_HEADERS | frames.PADDED | frames.PRIORITISED,
        1,
        b"\x03" + b"\0" * 5 + block + b"\0" * 3,
    )
    assert HeaderReader().read(read(padded)[0].payload).headers == [(b"a", b"b")]
    assert read(build(frames.DATA, frames.PADDED, 1, b"\x02abc\0\0"))[0].content() == b"abc"


def test_the_stream_changes_and_nothing_else():
    (frame,) = read(build(frames.DATA, 1, 7, b"abc"))
    assert renumbered(frame, 9) == build(frames.DATA, 1, 9, b"abc")
    assert renumbered(frame, 7) is frame.raw


@pytest.mark.parametrize(
    "raw",
    [
        build(frames.CONTINUATION, 4, 1, b""),
        build(frames.HEADERS, 0, 1, b"") + build(frames.DATA, 0, 1, b""),
        build(frames.HEADERS, 0, 1, b"") + build(frames.CONTINUATION, 4, 3, b""),
        build(frames.HEADERS, 4 | frames.PADDED, 1, b"\x05a"),
        build(frames.HEADERS, 0, 1, b"x" * 200_000) + build(frames.CONTINUATION, 0, 1, b"x" * 200_000),
        build(frames.RST_STREAM, 0, 1, b"\1\0\0\0\0"),
        build(frames.WINDOW_UPDATE, 0, 0, b""),
        build(frames.PING, 0, 0, b"seven.."),
    ],
)
def test_a_broken_block_is_refused(raw):
    with pytest.raises(BadFrame):
        read(raw)


@given(st.binary(max_size=100))
def test_noise_is_refused_or_waited_for(noise):
    try:
        for frame in read(noise):
            frame.content()
        HeaderReader().read(noise)
    except BadFrame:
        pass
