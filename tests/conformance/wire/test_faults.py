"""Each kind of rule does what its name says to a real client, is counted exactly, and ends when it is lifted."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time

import httpx
import pytest

from tests.conformance.wire.conftest import packets_can_be_seen


def in_background(call):
    """Run a call in a thread; give a function that joins it and gives what came of it."""
    result = []

    def run():
        try:
            result.append(call())
        except httpx.HTTPError as wrong:
            result.append(wrong)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def join():
        thread.join(10)
        return result[0]

    return join


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def base(wire, callee):
    return f"http://127.0.0.1:{wire.link(callee.address)}"


def test_status_answers_in_the_callees_place_and_keeps_the_connection(wire, callee, base):
    wire.rule("status", "POST /pay", code=503, headers={"Retry-After": "2"}, body={"why": "chaos"}, when={"first": 2})
    with httpx.Client(base_url=base) as client:
        answers = [client.post("/pay", content=b"x" * 100_000) for _ in range(3)]
        client.post("/other")
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert (answers[0].json(), answers[0].headers["retry-after"]) == ({"why": "chaos"}, "2")
    assert len(callee.asked) == 2
    attempts = wire.attempts(4)
    assert [row.get("faults") for row in attempts] == [["f1"], ["f1"], None, None]
    assert "forwarded_ns" not in attempts[0]
    assert "upstream_status" not in attempts[0]
    assert len({row["connection"] for row in attempts}) == 1
    hits = wire.lift()["r1"]
    assert hits["hits"] == 2
    assert hits["first_ns"] < hits["last_ns"]
    assert len(wire.rows("h")) == 2


def test_status_answers_a_caller_that_expects_continue(wire, callee, raw, base):
    wire.rule("status", code=503)
    sock = raw(int(base.rpartition(":")[2]))
    sock.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    assert sock.recv(100).startswith(b"HTTP/1.1 100")
    sock.sendall(b"body")
    assert sock.recv(1000).startswith(b"HTTP/1.1 503 Service Unavailable")
    assert callee.asked == []


def test_a_forwarded_status_replaces_the_answer_of_work_that_was_done(wire, callee, base):
    wire.rule("status", code=500, forward=True)
    assert httpx.post(base + "/pay").status_code == 500
    assert len(callee.asked) == 1
    (attempt,) = wire.attempts()
    assert (attempt["status"], attempt["upstream_status"]) == (500, 200)


@pytest.mark.parametrize(("how", "error"), [("reset", "reset"), ("close", "eof")])
def test_a_lost_answer_was_worked_for(wire, callee, base, how, error):
    wire.rule("answer_lost", "POST /pay", how=how, when={"nth": [2]})
    with httpx.Client(base_url=base) as client:
        client.post("/pay")
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            client.post("/pay")
        client.post("/pay")
    assert len(callee.asked) == 3
    lost = wire.attempts(3)[1]
    assert (lost["error"], lost["closed_by"], lost["upstream_status"], lost.get("status")) == (error, "wire", 200, None)


def test_a_lost_answer_may_hang_until_the_caller_gives_up(wire, callee, base):
    wire.rule("answer_lost", how="hang")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(base + "/pay", timeout=0.2)
    (attempt,) = wire.attempts()
    assert (attempt["closed_by"], attempt["upstream_status"]) == ("caller", 200)
    assert len(callee.asked) == 1


def test_a_hanging_lost_answer_ends_when_the_rule_is_lifted(wire, callee, base):
    wire.rule("answer_lost", how="hang")
    join = in_background(lambda: httpx.post(base + "/pay"))
    wait_for(lambda: wire.do("rules")["rules"][0]["hits"])
    wire.lift()
    assert isinstance(join(), httpx.HTTPError)


def test_a_held_answer_is_given_when_the_rule_is_lifted(wire, callee, base):
    wire.rule("hold", ms=None)
    join = in_background(lambda: httpx.post(base + "/pay"))
    wait_for(lambda: callee.asked)
    time.sleep(0.1)
    assert wire.rows() == []
    assert wire.lift()["r1"]["hits"] == 1
    assert join().status_code == 200
    assert wire.attempts()[0]["answered_ns"] - wire.attempts()[0]["forwarded_ns"] > 0.1e9


def test_a_hold_has_its_time(wire, callee, base):
    wire.rule("hold", ms=200)
    before = time.monotonic()
    assert httpx.get(base + "/x").status_code == 200
    assert 0.2 < time.monotonic() - before < 0.6


def test_a_held_request_has_not_reached_the_callee(wire, callee, base):
    wire.rule("hold", at="request", ms=None)
    join = in_background(lambda: httpx.post(base + "/pay", content=b"x" * 3_000_000))
    wait_for(lambda: wire.do("rules")["rules"][0]["hits"])
    assert callee.asked == []
    wire.do("reset")
    assert join().json()["size"] == 3_000_000


def test_a_caller_that_gives_up_ends_a_hold(wire, callee, base):
    wire.rule("hold", at="request", ms=None)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(base + "/x", timeout=0.1)
    (attempt,) = wire.attempts()
    assert attempt["closed_by"] == "caller"
    assert "forwarded_ns" not in attempt
    assert callee.asked == []


@pytest.mark.parametrize(("at", "work"), [("request", 0), ("response", 1)])
def test_reset_is_a_reset_before_or_after_the_work(wire, callee, raw, base, at, work):
    wire.rule("reset", at=at)
    sock = raw(int(base.rpartition(":")[2]))
    sock.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        sock.recv(100)
    assert len(callee.asked) == work
    (attempt,) = wire.attempts()
    assert (attempt["error"], attempt["closed_by"], "forwarded_ns" in attempt) == ("reset", "wire", bool(work))


def test_refuse_closes_the_listener_and_resets_what_is_open(wire, callee, base, raw):
    port = int(base.rpartition(":")[2])
    client = http.client.HTTPConnection("127.0.0.1", port)
    client.request("GET", "/x")
    client.getresponse().read()
    wire.rule("refuse")
    with pytest.raises(ConnectionResetError):
        client.sock.recv(1)
    client.close()
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            raw(port)
    assert wire.do("rules")["links"]["orders -> payments"]["listening"] is False
    # The one that was reset, and the three that were refused where that can be seen.
    assert wire.lift()["r1"]["hits"] == (4 if packets_can_be_seen() else 1)
    assert httpx.get(base + "/x").status_code == 200


def test_accept_close_lets_a_caller_in_and_out_again(wire, callee, base, raw):
    wire.rule("accept_close", when={"first": 1})
    assert raw(int(base.rpartition(":")[2])).recv(1) == b""
    assert httpx.get(base + "/x").status_code == 200
    assert wire.lift()["r1"]["hits"] == 1
    assert wire.attempts(2)[0]["error"] == "eof"


def test_slow_connect_delays_everything_on_a_connection(wire, callee, base):
    wire.rule("slow_connect", ms=200)
    with httpx.Client(base_url=base) as client:
        before = time.monotonic()
        client.get("/x")
        first = time.monotonic() - before
        before = time.monotonic()
        client.get("/x")
        assert first > 0.2 > time.monotonic() - before
    assert wire.lift()["r1"]["hits"] == 1


def test_latency_delays_the_request(wire, callee, base):
    wire.rule("latency", ms=100, jitter_ms=50)
    with httpx.Client(base_url=base) as client:
        for _ in range(5):
            client.get("/x")
    delays = [(row["forwarded_ns"] - row["sent_ns"]) / 1e6 for row in wire.attempts(5)]
    assert all(49 < delay < 250 for delay in delays)
    assert len({round(delay) for delay in delays}) > 1


def test_drip_gives_the_answer_in_drops(wire, callee, base):
    wire.rule("drip", bytes=5, interval_ms=20)
    before = time.monotonic()
    assert httpx.get(base + "/dripping").json()["path"] == "/dripping"
    assert time.monotonic() - before > 0.1
    assert wire.attempts()[0]["status"] == 200


def test_truncate_cuts_the_body(wire, callee, raw, base):
    wire.rule("truncate", bytes=7)
    sock = raw(int(base.rpartition(":")[2]))
    sock.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
    got = b""
    while data := sock.recv(1000):
        got += data
    assert got.partition(b"\r\n\r\n")[2] == b'{"path"'
    (attempt,) = wire.attempts()
    assert (attempt["error"], attempt["status"], attempt["closed_by"]) == ("truncated", 200, "wire")


@pytest.mark.parametrize(("phase", "work"), [("before_send", 0), ("after_answer", 1)])
def test_a_point_holds_its_request_until_it_is_released(wire, callee, base, phase, work):
    wire.rule("point", "POST /pay", phase=phase, when={"nth": [1]})
    join = in_background(lambda: httpx.post(base + "/pay"))
    event = wire.event()
    assert (event["event"], event["rule"], event["link"]) == ("point", "r1", "orders -> payments")
    assert len(callee.asked) == work
    assert httpx.post(base + "/pay").status_code == 200
    assert not wire.ask("release", rule="r1", attempt="a99")["ok"]
    wire.do("release", rule="r1", attempt=event["attempt"])
    assert join().status_code == 200


def test_several_faults_act_on_one_request(wire, callee, base):
    common = {"fault": "f", "link": "orders -> payments"}
    rules = [
        {**common, "id": "a", "kind": "latency", "params": {"ms": 50}},
        {**common, "id": "b", "kind": "hold", "params": {"ms": 50}},
        {**common, "id": "c", "kind": "status", "params": {"code": 502, "forward": True}},
    ]
    wire.do("install", schedule="s", owner="t", rules=rules)
    before = time.monotonic()
    assert httpx.get(base + "/x").status_code == 502
    assert time.monotonic() - before > 0.1
    assert {name: row["hits"] for name, row in wire.lift().items()} == {"a": 1, "b": 1, "c": 1}


def test_a_rule_is_for_its_operation_and_headers_only(wire, callee, base):
    wire.rule("status", "GET /orders/*/items", match={"x-tenant": "a"}, code=503)
    asked = [
        ("GET", "/orders/1/items?x", "a"),
        ("GET", "/orders/1/items", "b"),
        ("GET", "/orders/1/2/items", "a"),
        ("POST", "/orders/1/items", "a"),
    ]
    codes = [
        httpx.request(method, base + path, headers={"X-Tenant": tenant}).status_code for method, path, tenant in asked
    ]
    assert codes == [503, 200, 200, 200]


def test_the_callee_gone_while_a_request_is_held_is_what_the_caller_sees(wire, tcp_callee, raw):
    closed = threading.Event()

    def handle(sock):
        closed.wait(5)

    port = wire.link(tcp_callee(handle))
    wire.rule("hold", at="request", ms=None)
    sock = raw(port)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: wire.do("rules")["rules"][0]["hits"])
    closed.set()
    time.sleep(0.1)
    wire.lift()
    with contextlib.suppress(ConnectionResetError):
        assert sock.recv(1) == b""
    assert wire.attempts()[0]["error"] == "eof"


def test_no_upstream_is_refused_at_once_and_the_port_stays(wire, callee, raw, base):
    port = int(base.rpartition(":")[2])
    sock = raw(port)
    sock.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
    while not sock.recv(1000).endswith(b"}"):
        pass
    assert wire.do("set_upstream", name="orders -> payments", upstream=None)["listening"] is False
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
    with pytest.raises(ConnectionRefusedError):
        raw(port)
    assert wire.do("set_upstream", name="orders -> payments", upstream=callee.address)["port"] == port
    assert httpx.get(base + "/x").status_code == 200


def test_an_upstream_that_refuses_resets_the_caller(wire, raw):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    link = wire.link(f"127.0.0.1:{port}")
    with pytest.raises(ConnectionResetError):
        raw(link).recv(1)
    (attempt,) = wire.attempts()
    assert (attempt["error"], attempt["closed_by"]) == ("refused", "callee")
