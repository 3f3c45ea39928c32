"""Faults on plain HTTP/2 requests: a stub answers, the client is HTTP/2 by frames, so that nothing is smoothed over."""

from __future__ import annotations

import pytest

from pytest_chaos.wire.connection import PREFACE
from pytest_chaos.wire.http2 import frames
from pytest_chaos.wire.http2.call import Http2Call
from pytest_chaos.wire.http2.frames import FrameReader
from pytest_chaos.wire.http2.header_reader import HeaderReader
from pytest_chaos.wire.http2.headers import Block

LONG = "y" * 60_000
OPERATIONS = {
    "POST /charges": {"status": 201, "body": "charged it", "headers": {"x-a": "1"}, "key": "header:Idempotency-Key"},
    "POST /long": {"body": LONG},
    "POST /nothing": {"status": 204},
}


class Client:
    """One request on a connection of its own; ``frames`` is all that came on its stream."""

    def __init__(self, sock, path, body=b"{}", headers=(), cut=0, meanwhile=lambda: None):
        self.sock, self.frames, self._reader, self._headers = sock, [], FrameReader(), HeaderReader()
        self.blocks = []
        named = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", path.encode())]
        self.call = Http2Call(Block([*named, *headers]), body, None)
        data = self.call.begin()
        sock.sendall(data[:cut])
        meanwhile()
        sock.sendall(data[cut:])

    def step(self):
        data = self.sock.recv(65536)
        assert data, "the connection was closed"
        for frame in self._reader.feed(data):
            if frame.stream == 1:
                self.frames.append(frame)
                if frame.kind == frames.HEADERS:
                    self.blocks.append(self._headers.read(frame.payload).fields)
        self.sock.sendall(self.call.feed(data))

    def finish(self):
        while not self.call.done:
            self.step()
        return self

    @property
    def body(self):
        return b"".join(frame.content() for frame in self.frames if frame.kind == frames.DATA)


@pytest.fixture
def port(wire):
    return wire.link(operations=OPERATIONS, ledger="acquirer")


def test_an_answer_passes_as_it_is(port, raw, wire):
    client = Client(raw(port), "/charges").finish()
    assert (client.blocks[0][":status"], client.blocks[0]["x-a"], client.body) == ("201", "1", b"charged it")
    assert len(Client(raw(port), "/long").finish().body) == len(LONG)
    assert [row["status"] for row in wire.attempts(2)] == [201, 200]
    assert {row["protocol"] for row in wire.rows()} == {"h2"}


def test_a_preface_may_come_in_two_pieces_wherever_it_is_cut(port, raw, wire):
    for at in range(1, len(PREFACE)):
        client = Client(raw(port), "/charges", cut=at, meanwhile=lambda: [wire.do("ping") for _ in range(3)])
        assert client.finish().blocks[0][":status"] == "201", at
    assert {row["protocol"] for row in wire.attempts(len(PREFACE) - 1)} == {"h2"}


@pytest.mark.parametrize(("path", "size", "given"), [("/charges", 4, 4), ("/charges", 99, 10), ("/long", 1000, 1000)])
def test_an_adjusted_cut_ends_the_stream_as_if_that_were_all(port, raw, wire, path, size, given):
    wire.rule("truncate", bytes=size, length="adjusted")
    client = Client(raw(port), path).finish()
    assert (len(client.body), client.blocks[0]["content-length"]) == (given, str(given))
    assert client.frames[-1].kind == frames.DATA
    assert client.frames[-1].flags & frames.END_STREAM
    assert wire.lift()["r1"]["hits"] == 1
    assert len(Client(raw(port), "/long").finish().body) == len(LONG)


def test_a_kept_cut_resets_the_stream(port, raw, wire):
    wire.rule("truncate", bytes=4)
    client = Client(raw(port), "/charges").finish()
    assert (client.body, client.frames[-1].kind) == (b"char", frames.RST_STREAM)


@pytest.mark.parametrize("by", [3, -3])
def test_a_length_is_wrong(port, raw, wire, by):
    wire.rule("wrong_length", by=by)
    client = Client(raw(port), "/charges").finish()
    assert (client.body, client.blocks[0]["content-length"]) == (b"charged it", str(10 + by))


def test_what_has_no_body_has_no_length_to_be_wrong_and_nothing_to_stall(port, raw, wire):
    wire.rule("wrong_length", by=3)
    wire.rule("truncate", bytes=0, length="adjusted", schedule="t")
    client = Client(raw(port), "/nothing").finish()
    assert client.blocks[0][":status"] == "204"
    assert wire.lift()["r1"]["hits"] == wire.lift("t")["r1"]["hits"] == 0
    wire.rule("stall")
    assert Client(raw(port), "/nothing").finish().blocks[0][":status"] == "204"


def test_headers_come_and_then_nothing_until_the_rule_is_lifted(port, raw, wire):
    wire.rule("stall", bytes=3)
    client = Client(raw(port), "/charges")
    while client.body != b"cha":
        client.step()
    client.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.step()
    wire.lift()
    client.sock.settimeout(5)
    assert client.finish().body == b"charged it"


def test_headers_of_request_and_answer_are_changed(port, raw, wire):
    common = {"fault": "f", "link": "orders -> payments", "kind": "header"}
    changes = [("idempotency-key", "other", "request"), ("x-a", None, "response"), ("x-b", "2", "response")]
    rules = [
        {**common, "id": name, "fault": name, "params": {"name": name, "value": value, "at": at}}
        for name, value, at in changes
    ]
    wire.do("install", schedule="s", owner="t", rules=rules)
    client = Client(raw(port), "/charges", headers=[(b"idempotency-key", b"mine")]).finish()
    assert ("x-a" in client.blocks[0], client.blocks[0]["x-b"], client.body) == (False, "2", b"charged it")
    assert wire.rows("e")[0]["key"] == "other"
    assert wire.attempts()[0]["request_headers"]["idempotency-key"] == "mine"
    assert {row["hits"] for row in wire.lift().values()} == {1}


def test_a_request_is_delivered_twice(port, raw, wire):
    wire.rule("deliver_twice")
    body = b"z" * 200_000
    client = Client(raw(port), "/charges", body=body, headers=[(b"idempotency-key", b"k")]).finish()
    assert client.body == b"charged it"
    first, again = wire.attempts(2)
    assert [row["attempt"] for row in wire.rows("e")] == [first["id"], again["id"]]
    assert (again["replayed"], again["status"], again["request_bytes"]) == (True, 201, first["request_bytes"])


@pytest.mark.parametrize("how", ["reset", "hang"])
def test_a_request_is_delivered_late(port, raw, wire, how):
    wire.rule("deliver_late", how=how)
    client = Client(raw(port), "/charges", body=b"z" * 200_000)
    if how == "hang":
        while not wire.do("rules")["rules"][0]["hits"]:
            client.sock.settimeout(0.05)
            try:
                client.step()  # the windows must be filled up for the whole request to go
            except TimeoutError:
                continue
        assert wire.rows("e") == []
        client.sock.sendall(frames.rst_stream(1, frames.CANCEL))
    else:
        client.finish()
        assert client.frames[-1].kind == frames.RST_STREAM
    first, late = wire.attempts(2)
    assert (first["deferred"], first["closed_by"]) == (True, "caller" if how == "hang" else "wire")
    assert (late["replayed"], late["status"]) == (True, 201)
    assert [row["attempt"] for row in wire.rows("e")] == [late["id"]]


def test_two_hundred_rounds_of_two_tests_on_one_link_never_touch_each_other(port, raw, wire):
    for number in range(200):
        for test in ("t1", "t2"):
            rule = {"id": "r", "fault": test, "link": "orders -> payments", "kind": "status"}
            rule |= {"params": {"code": 500 + int(test[1])}, "whom": {"correlation_prefix": f"{test}-{number}-"}}
            wire.do("install", schedule=test, owner=test, rules=[rule])
        asked = [f"t1-{number}-1", f"t2-{number}-1", f"t1-{number + 1}-1", f"t2-{number}-2", f"t1-{number}-2"]
        codes = []
        for one in asked:
            sock = raw(port)
            headers = [(b"x-correlation-id", one.encode())]
            codes.append(Client(sock, "/nothing", headers=headers).finish().blocks[0][":status"])
            sock.close()
        assert codes == ["501", "502", "204", "502", "501"]
