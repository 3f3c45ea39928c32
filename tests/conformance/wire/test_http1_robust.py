"""HTTP/1.1 as real clients and servers use it: upgrades, trailers, streams both ways, large bodies in flat memory."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.client
import os
import socket
import threading
import time

import httpx
import pytest
import requests
import urllib3

from tests.conformance.wire.mutation_kit import MIB, rss_mib

LARGE_MIB = int(os.environ.get("PYTEST_CHAOS_BODY_MIB", "256"))
"""``make soak`` sends a GiB."""


def read_all(sock):
    parts = []
    while data := sock.recv(65536):
        parts.append(data)
    return b"".join(parts)


def read_head(sock):
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, got
        got += byte
    return got


@pytest.mark.parametrize("client", ["httpx", "requests", "urllib3", "http.client"])
def test_real_clients_keep_their_connection_and_get_every_kind_of_answer(wire, callee, client):
    base = f"http://127.0.0.1:{wire.link(callee.address)}"
    asked = [
        ("GET", "/x", None), ("HEAD", "/x", None), ("POST", "/x", b"y" * 200_000), ("GET", "/chunked", None),
        ("GET", "/status/204", None), ("GET", "/status/304", None), ("PUT", "/x", b""), ("DELETE", "/x", None),
    ]  # fmt: skip
    codes = []
    if client == "httpx":
        with httpx.Client(base_url=base) as session:
            codes = [session.request(method, path, content=body).status_code for method, path, body in asked]
    elif client == "requests":
        with requests.Session() as session:
            answers = [session.request(method, base + path, data=body, timeout=5) for method, path, body in asked]
            codes = [answer.status_code for answer in answers]
    elif client == "urllib3":
        pool = urllib3.PoolManager()
        codes = [pool.request(method, base + path, body=body).status for method, path, body in asked]
        pool.clear()
    else:
        connection = http.client.HTTPConnection("127.0.0.1", int(base.rpartition(":")[2]))
        for method, path, body in asked:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            answer.read()
            codes.append(answer.status)
        connection.close()
    assert codes == [200, 200, 200, 200, 204, 304, 200, 200]
    rows = wire.attempts(len(asked))
    assert [row["status"] for row in rows] == codes
    assert not any("error" in row for row in rows)
    assert len({row["connection"] for row in rows}) == callee.connections == 1


def test_a_websocket_passes_both_ways_and_ends_as_it_ends(wire, tcp_callee, raw):
    """Masked frames of the caller, plain ones of the callee, ping, close (RFC 6455)."""

    def frame(opcode, payload, mask=b""):
        head = bytes([0x80 | opcode, (0x80 if mask else 0) | len(payload)]) + mask
        return head + (bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else payload)

    def read_frame(sock):
        opcode, size = sock.recv(1)[0] & 0xF, sock.recv(1)[0]
        mask = sock.recv(4, socket.MSG_WAITALL) if size & 0x80 else b"\0\0\0\0"
        payload = sock.recv(size & 0x7F, socket.MSG_WAITALL) if size & 0x7F else b""
        return opcode, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))

    def websocket(sock):
        head = read_head(sock)
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")).split()[1]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324 - RFC 6455
        lines = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
        sock.sendall(b"\r\n".join([*lines, b"Sec-WebSocket-Accept: " + accept]) + b"\r\n\r\n" + frame(9, b"early"))
        while True:
            opcode, payload = read_frame(sock)
            sock.sendall(frame(opcode, payload.upper() if opcode == 1 else payload))
            if opcode == 8:
                return

    port = wire.link(tcp_callee(websocket))
    sock = raw(port)
    key = base64.b64encode(b"0123456789abcdef")
    sock.sendall(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: " + key + b"\r\n\r\n"
    )
    assert read_head(sock).startswith(b"HTTP/1.1 101")
    assert read_frame(sock) == (9, b"early")
    for number in range(100):
        sock.sendall(frame(1, b"hello %d" % number, mask=b"abcd"))
        assert read_frame(sock) == (1, b"HELLO %d" % number)
    sock.sendall(frame(8, b"\x03\xe8", mask=b"abcd"))
    assert read_frame(sock) == (8, b"\x03\xe8")
    assert sock.recv(1) == b""
    sock.close()
    upgraded, relayed = wire.attempts(2)
    assert (upgraded["status"], relayed["protocol"], relayed.get("error", "")) == (101, "tcp", "")


def test_an_upgrade_that_is_refused_stays_http(wire, callee, raw):
    sock = raw(wire.link(callee.address))
    sock.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n")
    assert b" 200 " in read_head(sock)
    sock.recv(1000)
    sock.sendall(b"GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b'"/b"' in read_all(sock)
    assert [row["operation"] for row in wire.attempts(2)] == ["GET /a", "GET /b"]


def test_trailers_pass_both_ways_untouched(wire, tcp_callee, raw):
    got = []
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    answer += b"3;ext=1\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n"
    request = (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Md5\r\n\r\n"
        b"a\r\n0123456789\r\n0\r\nX-Md5: 1\r\nX-More: 2\r\n\r\n"
    )

    def echo(sock):
        for _ in range(2):
            data = b""
            while not data.endswith(b"X-More: 2\r\n\r\n"):
                data += sock.recv(65536)
            got.append(data)
            sock.sendall(answer)

    sock = raw(wire.link(tcp_callee(echo)))
    for _ in range(2):
        for at in range(0, len(request), 7):
            sock.sendall(request[at : at + 7])
        data = b""
        while not data.endswith(b"X-Sum: 9\r\n\r\n"):
            data += sock.recv(65536)
        assert data == answer
    assert got == [request, request]
    assert [row["reused"] for row in wire.attempts(2)] == [False, True]


def test_pipelined_requests_with_bodies_and_a_fault_in_their_midst_keep_their_order(wire, callee, raw):
    port = wire.link(callee.address)
    wire.rule("status", "POST /2", code=503, body="no")
    sock = raw(port)
    bodies = [b"x" * size for size in (0, 100_000, 50_000, 3, 70_000)]
    requests_ = [
        b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s"
        % (number, len(body), b"Connection: close\r\n" * (number == 4), body)
        for number, body in enumerate(bodies)
    ]
    threading.Thread(target=sock.sendall, args=(b"".join(requests_),), daemon=True).start()
    answers = read_all(sock)
    marks = [answers.index(mark) for mark in (b'"/0"', b'"/1"', b" 503 ", b'"/3"', b'"/4"')]
    assert marks == sorted(marks)
    assert [body for *_, body in callee.asked] == [bodies[number] for number in (0, 1, 3, 4)]
    assert [row["status"] for row in wire.attempts(5)] == [200, 200, 503, 200, 200]


def test_a_callee_may_refuse_what_expects_to_continue(wire, tcp_callee, raw):
    def refuse(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    sock = raw(wire.link(tcp_callee(refuse)))
    sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert b" 417 " in read_all(sock)
    sock.close()
    (attempt,) = wire.attempts()
    assert (attempt["status"], attempt.get("error", ""), attempt.get("closed_by", "")) == (417, "", "")


def test_early_hints_and_other_interim_answers_pass(wire, tcp_callee, raw):
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"

    def hinting(sock):
        read_head(sock)
        sock.sendall(hints + hints)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    sock = raw(wire.link(tcp_callee(hinting)))
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = read_all(sock)
    assert answer.startswith(hints + hints)
    assert answer.endswith(b"ok")
    assert wire.attempts()[0]["status"] == 200


@pytest.mark.parametrize("rule", [None, {"kind": "header", "name": "x", "value": "1", "at": "response"}])
def test_server_sent_events_pass_at_once(wire, tcp_callee, rule):
    """The next event is made only when the last one was read: none may wait for another."""
    turn = threading.Semaphore(0)

    def events(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for number in range(20):
            sock.sendall(b"id: %d\ndata: x\n\n" % number)
            assert turn.acquire(timeout=5)

    base = f"http://127.0.0.1:{wire.link(tcp_callee(events))}"
    if rule:
        wire.rule(**rule)
    seen = []
    with httpx.stream("GET", base, timeout=5) as answer:
        for line in answer.iter_lines():
            if line.startswith("id"):
                seen.append(line)
                turn.release()
    assert seen == [f"id: {number}" for number in range(20)]
    assert wire.attempts()[0]["status"] == 200


def test_both_directions_stream_at_once(wire, tcp_callee, raw):
    def echo(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            size = b""
            while not size.endswith(b"\r\n"):
                size += sock.recv(1)
            chunk = sock.recv(int(size, 16) + 2, socket.MSG_WAITALL)
            sock.sendall(size + chunk)
            if size == b"0\r\n":
                return

    sock = raw(wire.link(tcp_callee(echo)))
    sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    read_head(sock)
    for number in range(50):
        chunk = b"4\r\n%04d\r\n" % number
        sock.sendall(chunk)
        assert sock.recv(len(chunk), socket.MSG_WAITALL) == chunk
    sock.sendall(b"0\r\n\r\n")
    assert sock.recv(5, socket.MSG_WAITALL) == b"0\r\n\r\n"
    (attempt,) = wire.attempts()
    assert (attempt["status"], attempt.get("error", "")) == (200, "")


@pytest.mark.parametrize(("framing", "mib"), [("length", LARGE_MIB), ("chunked", LARGE_MIB)])
def test_a_large_body_goes_up_and_comes_down_with_flat_memory(wire, tcp_callee, raw, framing, mib):
    total, block = mib * MIB, b"x" * MIB
    taken = []

    def sink(sock):
        read_head(sock)
        left = total if framing == "length" else total + (total // MIB) * len(b"100000\r\n\r\n") + len(b"0\r\n\r\n")
        buffer = bytearray(MIB)
        while left:
            size = sock.recv_into(buffer, min(MIB, left))
            assert size
            left -= size
        taken.append(total)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % total)
        for _ in range(total // MIB):
            sock.sendall(block)

    port = wire.link(tcp_callee(sink))
    sock = raw(port)
    before = rss_mib(wire.process.pid)
    most = before
    coding = b"Content-Length: %d" % total if framing == "length" else b"Transfer-Encoding: chunked"
    sock.sendall(b"POST /up HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % coding)
    for number in range(total // MIB):
        sock.sendall(block if framing == "length" else b"100000\r\n" + block + b"\r\n")
        if number % 64 == 0:
            most = max(most, rss_mib(wire.process.pid))
    if framing == "chunked":
        sock.sendall(b"0\r\n\r\n")
    read_head(sock)
    assert taken == [total]
    left, buffer = total, bytearray(MIB)
    while left:
        size = sock.recv_into(buffer)
        assert size
        left -= size
        if left % (64 * MIB) < size:
            most = max(most, rss_mib(wire.process.pid))
    assert most - before < 24
    (attempt,) = wire.attempts()
    assert attempt["status"] == 200
    assert min(attempt["request_bytes"], attempt["response_bytes"]) >= total


def test_an_upload_is_not_taken_faster_than_the_callee_reads(wire, tcp_callee, raw):
    read = threading.Event()

    def slow(sock):
        read_head(sock)
        read.wait(10)
        left = 64 * MIB
        while left:
            left -= len(sock.recv(MIB))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    sock = raw(wire.link(tcp_callee(slow)))
    before = rss_mib(wire.process.pid)
    sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
    sock.settimeout(0.5)
    sent, block = 0, b"x" * MIB
    with contextlib.suppress(TimeoutError):
        while sent < 64 * MIB:
            sent += sock.send(block)
    assert sent < 32 * MIB
    assert rss_mib(wire.process.pid) - before < 24
    read.set()
    sock.settimeout(10)
    while sent < 64 * MIB:
        sent += sock.send(block[: 64 * MIB - sent])
    assert b" 200 " in read_all(sock)


def test_half_a_connection_is_kept_while_the_other_half_streams(wire, tcp_callee, raw):
    def until_eof(sock):
        got = b""
        while data := sock.recv(65536):
            got += data
        body = got.partition(b"\r\n\r\n")[2]
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(body) * 1000))
        for _ in range(1000):
            sock.sendall(body)
            if not _ % 100:
                time.sleep(0.001)

    sock = raw(wire.link(tcp_callee(until_eof)))
    sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + b"y" * 100)
    sock.shutdown(socket.SHUT_WR)
    assert len(read_all(sock).partition(b"\r\n\r\n")[2]) == 100_000
    (attempt,) = wire.attempts()
    assert (attempt["status"], attempt.get("error", "")) == (200, "")


def test_many_connections_in_parallel_keep_their_answers(wire, callee):
    base = f"http://127.0.0.1:{wire.link(callee.address)}"

    async def main():
        limits = httpx.Limits(max_connections=30, max_keepalive_connections=30)
        async with httpx.AsyncClient(base_url=base, timeout=30, limits=limits) as client:
            answers = await asyncio.gather(*(client.post(f"/{n}", content=b"z" * (n * 997)) for n in range(150)))
            return [(answer.json()["path"], answer.json()["size"]) for answer in answers]

    assert asyncio.run(main()) == [(f"/{n}", n * 997) for n in range(150)]


def test_bytes_behind_a_held_answer_come_behind_it(wire, tcp_callee, raw):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    gone = threading.Event()

    def surplus(sock):
        read_head(sock)
        sock.sendall(answer + b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        gone.wait(5)

    port = wire.link(tcp_callee(surplus))
    wire.rule("hold", ms=100)
    sock = raw(port)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    data = b""
    while not data.endswith(b"Length: 0\r\n\r\n"):
        data += sock.recv(1000)
    assert data.startswith(answer + b"HTTP/1.1 408")
    assert wire.attempts()[0]["status"] == 200
    gone.set()


@pytest.mark.parametrize("closes", [True, False])
def test_a_request_that_is_never_completed_ends_with_its_answer(wire, tcp_callee, raw, closes):
    gone = threading.Event()

    def early(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if closes:
            sock.shutdown(socket.SHUT_WR)
            read_all(sock)  # what is unread when a socket is closed makes the kernel reset it
        else:
            gone.wait(5)

    sock = raw(wire.link(tcp_callee(early)))
    sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX")
    sock.shutdown(socket.SHUT_WR)
    assert read_all(sock).endswith(b"ok")
    (attempt,) = wire.attempts()
    assert (attempt["status"], attempt.get("error", "")) == (200, "")
    gone.set()
