"""What is not HTTP passes as it is: FIN, RST, half-close and back-pressure included."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
import time

import httpx
import pytest


def echo(sock):
    while data := sock.recv(65536):
        sock.sendall(data)
    sock.sendall(b"bye")


def test_bytes_half_close_and_the_last_word_pass(wire, tcp_callee, raw):
    sock = raw(wire.link(tcp_callee(echo)))
    sock.sendall(b"\x00\x01binary")
    assert sock.recv(100) == b"\x00\x01binary"
    sock.shutdown(socket.SHUT_WR)
    assert sock.recv(100) == b"bye"
    assert sock.recv(1) == b""
    (attempt,) = wire.attempts()
    assert (attempt["protocol"], attempt["request_bytes"], attempt["response_bytes"]) == ("tcp", 8, 11)
    assert "error" not in attempt


def test_a_server_that_speaks_first_is_heard(wire, tcp_callee, raw):
    sock = raw(wire.link(tcp_callee(lambda sock: (sock.sendall(b"220 ready\r\n"), echo(sock)))))
    assert sock.recv(100) == b"220 ready\r\n"
    sock.sendall(b"EHLO x\r\n")
    assert sock.recv(100) == b"EHLO x\r\n"


def test_tls_passes_and_is_counted_as_what_cannot_be_read(wire, tcp_callee, raw):
    port = wire.link(tcp_callee(echo))
    wire.rule("status", code=503)
    for _ in range(2):
        sock = raw(port)
        sock.sendall(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
        assert sock.recv(100) == b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"
        sock.close()
    assert [row["request_headers"] for row in wire.attempts(2)] == [{"opaque": "TLS"}] * 2
    assert wire.do("stats")["opaque"] == {"orders -> payments": {"TLS": 2}}
    assert wire.lift()["r1"]["hits"] == 0


def test_reset_passes_both_ways(wire, tcp_callee, raw, rst):
    seen = []

    def handle(sock):
        if sock.recv(100) == b"\x00you\n":
            rst(sock)
        else:
            try:
                sock.recv(100)
            except ConnectionResetError:
                seen.append("reset")

    port = wire.link(tcp_callee(handle))
    sock = raw(port)
    sock.sendall(b"\x00you\n")
    with pytest.raises(ConnectionResetError):
        sock.recv(100)
    other = raw(port)
    other.sendall(b"\x00me\n")
    time.sleep(0.05)
    rst(other)
    attempts = wire.attempts(2)
    assert [(row["error"], row["closed_by"]) for row in attempts] == [("reset", "callee"), ("reset", "caller")]
    deadline = time.monotonic() + 2
    while not seen and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen == ["reset"]


def test_a_connection_without_a_byte_is_no_attempt(wire, tcp_callee, raw):
    raw(wire.link(tcp_callee(lambda sock: sock.recv(1)))).close()
    time.sleep(0.1)
    assert wire.rows() == []
    assert wire.do("stats")["connections"] == 0


def test_a_line_that_only_begins_like_a_request_passes(wire, tcp_callee, raw):
    sock = raw(wire.link(tcp_callee(echo)))
    for text in (b"PING\r\n", b"QUIT now\r\n"):
        sock.sendall(text)
        assert sock.recv(100) == text
    half = raw(wire.do("rules")["links"]["orders -> payments"]["port"])
    half.sendall(b"GE")
    assert half.recv(100) == b"GE"


def test_a_connection_that_ends_before_it_is_known_what_it_speaks_is_one_attempt(wire, tcp_callee, raw):
    sock = raw(wire.link(tcp_callee(lambda sock: sock.recv(1))))
    sock.sendall(b"PRI *")
    while not wire.do("stats")["connections"]:
        pass
    for _ in range(5):  # what was sent before is read by then
        wire.do("ping")
    wire.do("set_upstream", name="orders -> payments", upstream=None)
    (attempt,) = wire.attempts()
    assert (attempt["protocol"], attempt["error"], attempt["closed_by"]) == ("tcp", "reset", "wire")
    assert wire.do("stats")["open"] == 0


def test_a_slow_reader_slows_the_sender_and_loses_nothing(wire, tcp_callee, raw):
    sock = raw(wire.link(tcp_callee(echo)))
    sock.settimeout(0.3)
    data, sent = b"\x00" + random.Random(1).randbytes(40_000_000), 0
    try:
        while sent < len(data):
            sent += sock.send(data[sent : sent + 65536])
    except TimeoutError:
        pass
    assert sent < len(data)
    sock.settimeout(10)
    got = bytearray()
    while len(got) < sent:
        got += sock.recv(1 << 20)
    assert bytes(got) == data[:sent]


def test_tcp_faults_act_on_connections(wire, tcp_callee, raw):
    port = wire.link(tcp_callee(echo))
    wire.rule("reset")
    sock = raw(port)
    sock.sendall(b"\x00")
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
    wire.rule("latency", ms=100)
    sock = raw(port)
    before = time.monotonic()
    sock.sendall(b"\x00")
    assert sock.recv(1) == b"\x00"
    assert time.monotonic() - before > 0.1
    wire.rule("truncate", bytes=3)
    sock = raw(port)
    sock.sendall(b"\x00abcdef")
    assert sock.recv(100) + sock.recv(100) == b"\x00ab"
    assert wire.attempts(2)[1]["error"] == "truncated"


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not on PATH")
def test_redis_speaks_through_a_link(wire, raw, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        link = wire.link(f"127.0.0.1:{port}")
        deadline = time.monotonic() + 5
        while True:
            try:
                sock = raw(link)
                sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n7\r\n")
                assert sock.recv(100) == b"+OK\r\n"
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        sock.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n")
        assert sock.recv(100) == b"$1\r\n7\r\n"
    finally:
        server.terminate()
        server.wait()


def test_noise_never_hurts_a_later_request(wire, callee, raw):
    port = wire.link(callee.address)
    dice = random.Random(5)
    starts = [
        b"",
        b"GET ",
        b"POST /x HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ]
    for number in range(150):
        sock = raw(port)
        try:
            sock.sendall(starts[number % len(starts)] + dice.randbytes(dice.randrange(1, 3000)))
            if number % 3:
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        if number % 2:
            sock.close()
    assert httpx.get(f"http://127.0.0.1:{port}/after").status_code == 200


def test_noise_from_a_callee_never_hurts_another_connection(wire, callee, tcp_callee, raw):
    dice = random.Random(6)
    starts = [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\0\0\0\4\0\0\0\0\0",
    ]
    asked = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
        b"\0bytes",
    ]

    def noise(sock):
        sock.recv(65536)
        sock.sendall(dice.choice(starts) + dice.randbytes(dice.randrange(1, 3000)))

    port, good = wire.link(tcp_callee(noise), name="a -> noise"), wire.link(callee.address)
    for number in range(120):
        sock = raw(port)
        sock.sendall(asked[number % 3])
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(65536):
                pass
        sock.close()
    assert httpx.get(f"http://127.0.0.1:{good}/after").status_code == 200
    deadline = time.monotonic() + 5
    while wire.do("stats")["open"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert wire.do("stats")["open"] == 0
