"""HTTP/1.1 through a real wire process, with real clients: nothing is changed unless a rule says so."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import threading
import time

import httpx
import pytest


def read_all(sock):
    parts = []
    while data := sock.recv(65536):
        parts.append(data)
    return b"".join(parts)


def test_a_request_and_its_answer_pass_and_are_recorded(wire, callee):
    port = wire.link(callee.address, identify={"POST /pay*": "json:/orderId"})
    headers = {
        "Idempotency-Key": "k1",
        "X-Correlation-ID": "c1",
        "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
    }
    answer = httpx.post(f"http://127.0.0.1:{port}/payments?x=1", json={"orderId": "o-1"}, headers=headers)
    assert answer.json() == {"path": "/payments?x=1", "size": len(b'{"orderId":"o-1"}')}
    (attempt,) = wire.attempts()
    assert (attempt["operation"], attempt["status"], attempt["marker"]) == ("POST /payments", 200, "o-1")
    assert attempt["request_headers"]["idempotency-key"] == "k1"
    assert attempt["request_headers"]["x-correlation-id"] == "c1"
    assert attempt["response_headers"] == {"content-type": "application/json"}
    times = [attempt[name] for name in ("connected_ns", "started_ns", "forwarded_ns", "answered_ns", "ended_ns")]
    assert times == sorted(times)
    assert "error" not in attempt
    assert "closed_by" not in attempt


def test_keep_alive_keeps_one_connection_on_both_sides(wire, callee):
    port = wire.link(callee.address)
    client = http.client.HTTPConnection("127.0.0.1", port)
    for number in range(3):
        client.request("POST", f"/{number}", body=b"x" * number)
        assert client.getresponse().read()
    client.close()
    attempts = wire.attempts(3)
    assert [row["reused"] for row in attempts] == [False, True, True]
    assert len({row["connection"] for row in attempts}) == 1
    assert callee.connections == 1
    assert len({row["body_hash"] for row in attempts}) == 3


def test_pipelined_requests_are_answered_in_order(wire, callee, raw):
    sock = raw(wire.link(callee.address))
    sock.sendall(
        b"".join(
            b"GET /%d HTTP/1.1\r\nHost: x\r\n%s\r\n" % (n, b"Connection: close\r\n" * (n == 29)) for n in range(30)
        )
    )
    answers = read_all(sock)
    assert [answers.index(b'"/%d"' % n) for n in range(30)] == sorted(answers.index(b'"/%d"' % n) for n in range(30))
    assert [row["operation"] for row in wire.attempts(30)] == [f"GET /{n}" for n in range(30)]


def test_bodies_of_every_framing_pass(wire, callee):
    base = f"http://127.0.0.1:{wire.link(callee.address)}"
    with httpx.Client(base_url=base) as client:
        assert client.get("/chunked").text == "onetwothree"
        assert client.post("/x", content=iter([b"ab", b"cd" * 50_000])).json()["size"] == 100_002
        assert client.head("/x").headers["content-length"]
        assert client.get("/status/204").status_code == 204
        assert client.get("/status/304").status_code == 304
        assert client.get("/until-close").text == "until the end"
    plain, chunked = httpx.post(base + "/a", content=b"same"), httpx.post(base + "/a", content=iter([b"sa", b"me"]))
    assert plain.json() == chunked.json()
    attempts = wire.attempts(8)
    assert attempts[-1]["body_hash"] == attempts[-2]["body_hash"]
    assert not any("error" in row for row in attempts)


def test_expect_continue_reaches_the_callee(wire, callee, raw):
    sock = raw(wire.link(callee.address))
    sock.sendall(
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    assert sock.recv(65536).startswith(b"HTTP/1.1 100")
    sock.sendall(b"body")
    assert b'"size": 4' in read_all(sock)
    assert wire.attempts()[0]["status"] == 200


def test_a_head_may_come_byte_by_byte(wire, callee, raw):
    sock = raw(wire.link(callee.address))
    for byte in b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
        sock.sendall(bytes([byte]))
    assert b'"/slow"' in read_all(sock)
    assert wire.attempts()[0]["operation"] == "GET /slow"


def test_a_head_without_end_is_refused(wire, callee, raw):
    sock = raw(wire.link(callee.address))
    sock.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000)
    with contextlib.suppress(ConnectionResetError):
        assert b" 431 " in read_all(sock)
    assert callee.asked == []


def test_an_upgraded_connection_is_relayed_as_it_is(wire, tcp_callee, raw):
    def websocket(sock):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhello")
        sock.sendall(sock.recv(65536).upper())

    sock = raw(wire.link(tcp_callee(websocket)))
    sock.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
    got = b""
    while not got.endswith(b"hello"):
        got += sock.recv(65536)
    sock.sendall(b"frames")
    assert sock.recv(100) == b"FRAMES"
    sock.close()
    attempts = wire.attempts(2)
    assert [(row["protocol"], row.get("status")) for row in attempts] == [("http/1.1", 101), ("tcp", None)]


def test_a_broken_answer_is_recorded_as_broken(wire, tcp_callee, rst):
    def ends(how):
        def handle(sock):
            sock.recv(65536)
            how(sock)

        return handle

    cases = [
        ("eof", lambda sock: None),
        ("reset", rst),
        ("truncated", lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")),
    ]
    for number, (error, how) in enumerate(cases):
        port = wire.link(tcp_callee(ends(how)), name=f"a -> b{number}")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/")
        attempt = wire.attempts(number + 1)[-1]
        assert (attempt["error"], attempt["closed_by"]) == (error, "callee")


def test_a_caller_that_gives_up_is_seen_as_the_one_who_did(wire, tcp_callee):
    def late(sock):
        sock.recv(65536)
        sock.recv(1)
        time.sleep(0.05)
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    port = wire.link(tcp_callee(late))
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"http://127.0.0.1:{port}/", timeout=0.1)
    (attempt,) = wire.attempts()
    assert (attempt["closed_by"], attempt["error"], attempt.get("status")) == ("caller", "eof", None)
    assert attempt["ended_ns"] - attempt["started_ns"] < 0.149e9


def test_a_caller_that_only_half_closes_still_gets_its_answer(wire, callee, raw):
    sock = raw(wire.link(callee.address))
    sock.sendall(b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n")
    sock.shutdown(socket.SHUT_WR)
    assert b'"/half"' in read_all(sock)
    attempt = wire.attempts()[0]
    assert (attempt["status"], attempt.get("closed_by", "")) == (200, "")


def test_an_answer_that_comes_before_the_request_is_complete_passes(wire, tcp_callee, raw):
    def early(sock):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        sock.recv(65536)

    sock = raw(wire.link(tcp_callee(early)))
    sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    assert b" 413 " in sock.recv(65536)
    sock.sendall(b"x" * 997)
    assert sock.recv(100) == b""
    assert wire.attempts()[0]["status"] == 413


def test_a_large_answer_is_not_read_faster_than_the_caller_reads(wire, tcp_callee, raw):
    sent = []

    def flood(sock):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        sock.settimeout(0.5)
        block = b"x" * 65536
        try:
            for _ in range(100_000_000 // 65536):
                sock.sendall(block)
                sent.append(len(block))
        except TimeoutError:
            pass

    sock = raw(wire.link(tcp_callee(flood)))
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.8)
    assert sum(sent) < 30_000_000
    assert wire.do("mark")["open"][0]["operation"] == "GET /"


def test_an_open_request_is_told_by_mark(wire, callee):
    port = wire.link(callee.address)
    wire.rule("hold", "GET /slow", ms=None)
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    deadline = time.monotonic() + 5
    while not callee.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    (open_,) = wire.do("mark")["open"]
    assert open_["operation"] == "GET /slow"
    assert "ended_ns" not in open_
    sock.close()
    assert wire.attempts()[0]["id"] == open_["id"]
    assert wire.do("mark")["open"] == []


def test_an_answer_that_stops_being_http_is_passed_on_to_its_last_byte(wire, tcp_callee, raw):
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnot a size\r\nrest"
    sock = raw(wire.link(tcp_callee(lambda sock: (sock.recv(65536), sock.sendall(answer)))))
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_all(sock) == answer
    assert wire.attempts()[0]["error"] == "truncated"


@pytest.mark.parametrize("behind", [b"SM\r\n\r\n", b"GET /next HTTP/1.1\r\nhost: x\r\n\r\n"])
def test_what_waits_behind_a_request_is_no_attempt_once_both_ends_are_gone(wire, tcp_callee, raw, rst, behind):
    told, gone = threading.Event(), threading.Event()

    def resets(sock):
        told.wait(5)
        rst(sock)
        gone.set()

    port = wire.link(tcp_callee(resets))
    wire.rule("point", phase="before_send")
    sock = raw(port)
    sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" + behind)
    assert wire.event()["operation"] == "GET /"
    told.set()
    assert gone.wait(5)
    rst(sock)
    (attempt,) = wire.attempts()
    assert attempt["operation"] == "GET /"
    assert wire.do("stats")["open"] == 0


def test_what_is_pipelined_behind_a_request_whose_answer_is_no_http_is_relayed(wire, tcp_callee, raw):
    heard = []

    def speaks_something_else(sock):
        heard.append(sock.recv(65536))
        sock.sendall(b"\x01no http\r\n\r\n")
        while data := sock.recv(65536):
            heard.append(data)

    sock = raw(wire.link(tcp_callee(speaks_something_else)))
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    sock.sendall(request + b"SM\r\n\r\n")
    assert sock.recv(100) == b"\x01no http\r\n\r\n"
    sock.shutdown(socket.SHUT_WR)
    assert read_all(sock) == b""
    asked, relayed = wire.attempts(2)
    assert (asked["protocol"], asked["error"], relayed["protocol"]) == ("http/1.1", "truncated", "tcp")
    assert (relayed["request_bytes"], relayed["response_bytes"]) == (6, 12)
    assert b"".join(heard) == request + b"SM\r\n\r\n"
    assert wire.do("stats")["open"] == 0


def test_early_bytes_of_an_upgraded_connection_pass_however_many_they_are(wire, tcp_callee, raw):
    early, heard, sent = random.Random(1).randbytes(40_000_000), bytearray(), 0
    request = b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"
    full = threading.Event()

    def upgrades(sock):
        heard.extend(sock.recv(len(request), socket.MSG_WAITALL))
        full.wait(5)
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
        while data := sock.recv(1 << 20):
            heard.extend(data)

    sock = raw(wire.link(tcp_callee(upgrades)))
    sock.sendall(request)
    sock.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while sent < len(early):
            sent += sock.send(early[sent : sent + 65536])
    assert sent < len(early)  # wire takes no more of them before it knows what they are
    full.set()
    sock.settimeout(10)
    sock.sendall(early[sent : sent + 1_000_000])
    assert sock.recv(12) == b"HTTP/1.1 101"
    sock.shutdown(socket.SHUT_WR)
    read_all(sock)
    assert bytes(heard) == request + early[: sent + 1_000_000]


def test_a_request_behind_one_that_is_reset_never_reaches_the_callee(wire, callee, raw):
    port = wire.link(callee.address)
    wire.rule("reset", "GET /1")
    sock = raw(port)
    sock.sendall(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
    while wire.do("stats")["connections"]:
        pass
    (attempt,) = wire.attempts()
    assert (attempt["operation"], attempt["error"]) == ("GET /1", "reset")
    assert callee.asked == []
