"""Faults on single HTTP/1.1 requests: delivered twice or late, stalled, cut, of wrong length, with other headers."""

from __future__ import annotations

import http.client
import socket
import time

import httpx
import pytest
import requests
import urllib3

BODY = {"amount": 5}


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def base(wire, callee):
    return f"http://127.0.0.1:{wire.link(callee.address, identify={'POST /pay': 'json:/amount'})}"


def read_all(sock):
    parts = []
    while data := sock.recv(65536):
        parts.append(data)
    return b"".join(parts)


# delivered twice, delivered late


@pytest.mark.parametrize("ms", [0, 100])
def test_a_request_is_delivered_twice_and_its_caller_has_the_first_answer(wire, callee, base, ms):
    wire.rule("deliver_twice", "POST /pay", ms=ms, when={"nth": [2]})
    with httpx.Client(base_url=base) as client:
        answers = [client.post("/pay", json=BODY, headers={"Idempotency-Key": "k"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    rows = wire.attempts(4)
    assert len(callee.asked) == 4
    assert len(set(callee.asked)) == 1
    (again,) = [row for row in rows if row.get("replayed")]
    first = [row for row in rows if not row.get("replayed")][1]
    for name in ("operation", "request_headers", "body_hash", "marker", "request_bytes", "link", "protocol"):
        assert again[name] == first[name]
    assert again["connection"] != first["connection"]
    assert (again["status"], again["upstream_status"], again["faults"]) == (200, 200, ["f1"])
    assert again["forwarded_ns"] >= first["forwarded_ns"] + ms * 980_000
    assert "faults" not in first
    assert wire.lift()["r1"]["hits"] == 1
    (hit,) = wire.rows("h")
    assert hit["attempt"] == again["id"]


def test_a_second_delivery_that_waits_is_open_and_made_when_the_rule_is_lifted(wire, callee, base):
    wire.rule("deliver_twice", ms=60_000)
    httpx.post(base + "/pay", json=BODY)
    (open_,) = wire.do("mark")["open"]
    assert (open_["replayed"], len(callee.asked)) == (True, 1)
    wire.lift()
    assert len(wire.attempts(2)) == 2
    assert len(callee.asked) == 2


def test_a_second_delivery_to_a_callee_that_is_gone_is_recorded_and_is_no_hit(wire, callee, base):
    wire.rule("deliver_twice", ms=60_000)
    httpx.post(base + "/pay", json=BODY)
    callee.close()
    wire.do("set_upstream", name="orders -> payments", upstream=None)
    assert wire.lift()["r1"]["hits"] == 0
    again = wire.attempts(2)[1]
    assert (again["error"], "forwarded_ns" in again) == ("refused", False)
    assert wire.rows("h") == []


def test_a_chunked_upload_with_expectation_is_delivered_twice_whole(wire, callee, raw, base):
    wire.rule("deliver_twice")
    sock = raw(int(base.rpartition(":")[2]))
    sock.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
    assert sock.recv(1000).startswith(b"HTTP/1.1 100")
    sock.sendall(b"5\r\nhello\r\n0\r\n\r\n")
    wire.attempts(2)
    assert [body for *_, body in callee.asked] == [b"hello", b"hello"]


def test_a_stub_works_twice_for_one_request(wire):
    base = f"http://127.0.0.1:{wire.link(operations={'POST /charges': {'status': 201}}, ledger='acquirer')}"
    wire.rule("deliver_twice")
    assert httpx.post(base + "/charges", json=BODY).status_code == 201
    rows = wire.attempts(2)
    assert [row["attempt"] for row in wire.rows("e")] == [row["id"] for row in rows]
    assert rows[1]["replayed"] is True


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_late_request_arrives_after_its_caller_was_cut(wire, callee, base, how):
    wire.rule("deliver_late", "POST /pay", how=how, ms=100, when={"first": 1})
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        httpx.post(base + "/pay", json=BODY)
    assert callee.asked == []
    assert httpx.post(base + "/pay", json=BODY).status_code == 200
    rows = wire.attempts(3)
    (late,) = [row for row in rows if row.get("replayed")]
    first, retry = sorted((row for row in rows if row is not late), key=lambda row: row["started_ns"])
    assert (first["deferred"], first["closed_by"], "forwarded_ns" in first) == (True, "wire", False)
    assert late["forwarded_ns"] >= first["ended_ns"] + 98_000_000
    assert "deferred" not in retry
    assert len(callee.asked) == 2
    assert wire.lift()["r1"]["hits"] == 1


def test_a_late_request_arrives_after_its_caller_gave_up(wire, callee, base):
    wire.rule("deliver_late")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(base + "/pay", json=BODY, timeout=0.5)
    wait_for(lambda: callee.asked)
    first, late = wire.attempts(2)
    assert (first["deferred"], first["closed_by"], first["marker"]) == (True, "caller", "5")
    assert late["forwarded_ns"] > first["ended_ns"]
    assert (late["status"], late["marker"]) == (200, "5")


def test_a_lift_cuts_a_caller_that_waits_and_delivers_nothing(wire, callee, raw, base):
    wire.rule("deliver_late")
    sock = raw(int(base.rpartition(":")[2]))
    sock.sendall(b"POST /pay HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
    wait_for(lambda: wire.do("rules")["rules"][0]["hits"])
    wire.lift()
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
    (attempt,) = wire.attempts()
    assert "deferred" not in attempt
    assert callee.asked == []


# answers that end badly


def test_headers_come_and_then_nothing_until_the_rule_is_lifted(wire, callee, raw, base):
    wire.rule("stall")
    sock = raw(int(base.rpartition(":")[2]))
    sock.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        got += sock.recv(1)
    sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        sock.recv(1)
    wire.lift()
    sock.settimeout(5)
    assert sock.recv(1000) == b'{"path": "/x", "size": 0}'
    assert wire.attempts()[0]["status"] == 200


def test_a_stalled_body_ends_with_the_patience_of_its_reader(wire, callee, base):
    wire.rule("stall", bytes=3)
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(base + "/x", timeout=1)
    (attempt,) = wire.attempts()
    assert (attempt["closed_by"], attempt["status"], attempt["upstream_status"]) == ("caller", 200, 200)


def test_a_stall_has_its_time(wire, callee, base):
    wire.rule("stall", bytes=3, ms=150)
    before = time.monotonic()
    assert urllib3.PoolManager().request("GET", base + "/x").json()["path"] == "/x"
    assert time.monotonic() - before > 0.15


def test_a_stream_that_never_ends_is_stalled_too(wire, tcp_callee, raw):
    def events(sock):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while True:
            sock.sendall(b"data: 1\n\n")
            time.sleep(0.01)

    port = wire.link(tcp_callee(events))
    wire.rule("stall", bytes=9)
    sock = raw(port)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    got = b""
    while not got.endswith(b"\n\n"):
        got += sock.recv(1)
    sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        sock.recv(1)


@pytest.mark.parametrize("path", ["/x", "/chunked", "/until-close"])
def test_an_adjusted_cut_can_only_be_told_by_reading_the_body(wire, callee, base, path):
    wire.rule("truncate", bytes=5, length="adjusted", when={"first": 1})
    with httpx.Client(base_url=base) as client:
        cut, whole = client.get(path), client.get(path)
    assert (cut.status_code, cut.content) == (200, whole.content[:5])
    assert cut.headers["content-length"] == "5"
    rows = wire.attempts(2)
    assert not any("error" in row for row in rows)
    if path != "/until-close":
        assert len({row["connection"] for row in rows}) == 1


def test_a_length_that_is_too_large_leaves_the_caller_with_too_little(wire, callee, base):
    wire.rule("wrong_length", by=7)
    for path in ("/x", "/chunked"):
        with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|peer closed"):
            httpx.get(base + path)
    connection = http.client.HTTPConnection("127.0.0.1", int(base.rpartition(":")[2]))
    connection.request("GET", "/x")
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    connection.close()
    assert wire.lift()["r1"]["hits"] == 3


def test_a_length_that_is_too_small_leaves_bytes_behind(wire, callee, raw, base):
    wire.rule("wrong_length", by=-4)
    sock = raw(int(base.rpartition(":")[2]))
    sock.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert b"content-length: %d" % (len(body) - 4) in head.lower()
    assert requests.get(base + "/x", timeout=5).text == '{"path": "/x", "size"'


def test_a_foreign_page_comes_with_status_200(wire, callee, base):
    wire.rule("status", code=200, body="<html></html>", headers={"Content-Type": "text/html"}, forward=True)
    answer = requests.get(base + "/x", timeout=5)
    assert (answer.status_code, answer.headers["content-type"], answer.text) == (200, "text/html", "<html></html>")
    assert len(callee.asked) == 1
    assert wire.attempts()[0]["response_headers"]["content-type"] == "text/html"


def test_retry_after_is_seen_by_the_caller_and_recorded(wire, callee, base):
    wire.rule("status", code=503, headers={"Retry-After": "1"}, when={"first": 1})
    retries = urllib3.Retry(total=1, status_forcelist=[503], allowed_methods=None)
    before = time.monotonic()
    assert urllib3.PoolManager().request("POST", base + "/pay", retries=retries).status == 200
    assert time.monotonic() - before > 1
    assert wire.attempts(2)[0]["response_headers"]["retry-after"] == "1"


# headers


def test_a_header_of_the_request_is_dropped_rewritten_or_added(wire, tcp_callee, raw):
    heads = []

    def remember(sock):
        said = b""
        while not said.endswith(b"body"):  # head and body may come apart
            said += sock.recv(65536)
        heads.append(said)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    base = f"http://127.0.0.1:{wire.link(tcp_callee(remember))}"
    common = {"fault": "f", "link": "orders -> payments", "kind": "header"}
    rules = [
        {**common, "id": "a", "params": {"name": "idempotency-key", "value": None}},
        {**common, "id": "b", "params": {"name": "x-tenant", "value": "other"}},
        {**common, "id": "c", "params": {"name": "x-new", "value": "1"}},
        {**common, "id": "d", "params": {"name": "x-absent", "value": None}},
    ]
    wire.do("install", schedule="s", owner="t", rules=rules)
    httpx.post(base + "/pay", headers={"Idempotency-Key": "k", "X-Tenant": "mine"}, content=b"body")
    (head,) = heads
    assert b"dempotency" not in head
    assert b"X-Tenant: other\r\n" in head
    assert b"\r\nx-new: 1\r\n\r\nbody" in head
    assert {name: row["hits"] for name, row in wire.lift().items()} == {"a": 1, "b": 1, "c": 1, "d": 0}
    assert wire.attempts()[0]["request_headers"]["idempotency-key"] == "k"


def test_a_header_of_the_answer_is_dropped_or_rewritten_as_the_answer_begins(wire, tcp_callee, raw):
    def endless(sock):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 2\r\n\r\nfirst")
        sock.recv(1)

    port = wire.link(tcp_callee(endless))
    common = {"fault": "f", "link": "orders -> payments", "kind": "header"}
    rules = [
        {**common, "id": "a", "params": {"name": "x-a", "value": None, "at": "response"}},
        {**common, "id": "b", "params": {"name": "x-b", "value": "3", "at": "response"}},
    ]
    wire.do("install", schedule="s", owner="t", rules=rules)
    sock = raw(port)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    got = b""
    while not got.endswith(b"first"):
        got += sock.recv(100)
    assert got == b"HTTP/1.1 200 OK\r\nX-B: 3\r\n\r\nfirst"
    assert {name: row["hits"] for name, row in wire.lift().items()} == {"a": 1, "b": 1}


def test_a_stub_is_asked_with_the_header_as_it_was_changed(wire):
    operations = {"POST /charges": {"status": 201, "key": "header:Idempotency-Key"}}
    base = f"http://127.0.0.1:{wire.link(operations=operations, ledger='acquirer')}"
    wire.rule("header", name="idempotency-key", value="other")
    httpx.post(base + "/charges", headers={"Idempotency-Key": "mine"})
    assert wire.rows("e")[0]["key"] == "other"


# whom


def test_two_tests_on_one_link_have_their_own_faults(wire, callee, base):
    for test in ("t1", "t2"):
        rule = {"id": "r", "fault": test, "link": "orders -> payments", "kind": "status", "when": {"first": 1}}
        rule |= {"params": {"code": 503}, "whom": {"baggage": {"chaos.test": test}}}
        wire.do("install", schedule=test, owner=test, rules=[rule])
    asked = ["t1", "t1", "t3", "t2", "", "t2"]
    codes = [httpx.get(base + "/x", headers={"baggage": f"a=b, chaos.test={one};p"}).status_code for one in asked]
    assert codes == [503, 200, 200, 503, 200, 200]
    assert wire.lift("t1")["r"]["hits"] == 1
    assert wire.lift("t2")["r"]["hits"] == 1


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("whom", {"trace_id": "x"}, "trace_id='x': must be 32"),
        ("whom", {"correlation_id": 5}, "correlation_id=5"),
        ("when", {"probability": 0}, "probability=0: must be above 0"),
        ("when", {"first": "1"}, "first='1'"),
        ("when", {"until_s": 0}, "until_s=0"),
        ("params", {"name": "Content-Length"}, "name='Content-Length'"),
        ("params", {"name": "x", "value": "a\nb"}, "value="),
    ],
)
def test_a_rule_that_cannot_be_is_refused_and_nothing_is_disturbed(wire, callee, base, field, value, says):
    wire.rule("status", code=418)
    rule = {"id": "r", "fault": "f", "link": "orders -> payments", "kind": "header", "params": {"name": "x"}}
    answer = wire.ask("install", schedule="s", owner="t", rules=[{**rule, field: value}])
    assert not answer["ok"]
    assert says in answer["error"]
    assert httpx.get(base + "/x").status_code == 418


def test_a_connection_cannot_be_told_whose_it_is(wire, callee, base):
    rule = {"id": "r", "fault": "f", "link": "orders -> payments", "kind": "accept_close", "params": {}}
    answer = wire.ask("install", schedule="s", owner="t", rules=[{**rule, "whom": {"correlation_id": "a"}}])
    assert "whom='correlation_id a'" in answer["error"]
    with socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2]))):
        pass


def test_a_window_opens_and_closes(wire, callee, base):
    wire.rule("status", code=503, when={"after_s": 0.4, "until_s": 0.9})
    codes, ends = [], time.monotonic() + 1.5
    while time.monotonic() < ends:
        codes.append(httpx.get(base + "/x").status_code)
    first, last = codes.index(503), len(codes) - codes[::-1].index(503)
    assert 0 < first < last < len(codes)
    assert set(codes[first:last]) == {503}
    assert len(wire.rows("d")) == last - first
