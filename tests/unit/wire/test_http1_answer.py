"""An answer's bytes are sorted alike however they are cut."""

from __future__ import annotations

import itertools

import pytest

from pytest_chaos.wire.http1.answer import AnswerReader
from pytest_chaos.wire.http1.messages import BadMessage, parse_request

ASKED = parse_request(b"POST /x HTTP/1.1\r\nHost: a\r\n\r\n")
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def read(data, cuts):
    reader, parts, interim, rest = AnswerReader(ASKED), [], [], b""
    for start, end in itertools.pairwise([0, *cuts, len(data)]):
        rest += reader.read(data[start:end], parts, interim.append) or b""
    return reader, b"".join(parts), b"".join(interim), rest


@pytest.mark.parametrize(("head", "body"), [(HEAD, b"12345"), (CHUNKED, b"5\r\n12345\r\n0\r\n\r\n")])
def test_each_way_to_cut_an_answer_gives_the_same(head, body):
    data = EARLY + head + body + b"HTTP/1.1 400"
    for cut in range(1, len(data)):
        reader, parts, interim, rest = read(data, [cut])
        assert (parts, interim) == (head + body, EARLY), cut
        assert rest == b"HTTP/1.1 400", cut
        assert reader.done
        assert (reader.head.status, reader.head_size) == (200, len(head))
        assert reader.unread() == b""


def test_an_answer_in_one_piece_is_taken_whole_and_nothing_else_is():
    assert AnswerReader(ASKED).take_whole(HEAD + b"12345")
    for other in (HEAD + b"123", EARLY + HEAD + b"12345", HEAD[:-2], b"no HTTP\r\n\r\n"):
        reader = AnswerReader(ASKED)
        assert not reader.take_whole(other)
        assert (reader.head, reader.body, reader.unread()) == (None, None, b"")


def test_what_follows_a_switch_and_what_is_no_answer_stay_unread():
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    reader = AnswerReader(ASKED)
    assert reader.read(switch + b"\x00\x01", [], lambda _: None) is None
    assert (reader.head_size, reader.unread()) == (len(switch), switch + b"\x00\x01")
    reader = AnswerReader(ASKED)
    with pytest.raises(BadMessage):
        reader.read(b"no HTTP\r\n\r\nat all", [], lambda _: None)
    assert reader.unread() == b"no HTTP\r\n\r\nat all"
