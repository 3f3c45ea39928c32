"""Faults on connections: who sees which end, and what proves it."""

from __future__ import annotations

import socket
import time

import pytest

from tests.conformance.bytes.kit import LIMIT_S, NAME, ending, quiet, take
from tests.conformance.wire.conftest import packets_can_be_seen

HTTP = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def install(link, kind, **params):
    link.wire.rule(kind, link=NAME, schedule="s", rule="r", **params)


def hits(link):
    return link.wire.lift("s")["r"]


def connect(link, timeout=LIMIT_S):
    return link.stack.enter_context(socket.create_connection(("127.0.0.1", link.port), timeout))


@pytest.mark.parametrize(("which", "open_sees", "new_sees"), [
    ("open", "reset", "open"), ("new", "open", "reset"), ("both", "reset", "reset"),
])  # fmt: skip
def test_open_new_or_both_are_reset_with_a_real_rst(wire_link, which, open_sees, new_sees):
    caller, callee = wire_link.spoken()
    install(wire_link, "reset_connections", which=which)
    assert ending(caller, 0.5) == open_sees
    assert ending(callee, 0.5) == open_sees
    assert ending(connect(wire_link), 0.5) == new_sees
    assert hits(wire_link)["hits"] == 1 + (which == "both")
    assert [row["error"] for row in wire_link.wire.rows() if row.get("error")] == ["reset"] * (1 + (which == "both"))
    if open_sees == "open":
        callee.sendall(b"still there")
        assert take(caller, 11) == b"still there"


def test_a_connection_is_closed_after_so_many_requests(wire_link):
    install(wire_link, "close_after_requests", requests=2)
    caller, callee = wire_link.open()
    for _ in range(2):
        caller.sendall(HTTP)
        assert take(callee, len(HTTP)) == HTTP
        callee.sendall(OK)
        assert take(caller, len(OK)) == OK
    assert ending(caller) == "eof"
    assert ending(callee) == "eof"
    other, server = wire_link.open()
    other.sendall(HTTP)
    assert take(server, len(HTTP)) == HTTP
    server.sendall(OK)
    assert take(other, len(OK)) == OK
    assert quiet(other), "its own first request"
    assert hits(wire_link)["hits"] == 1


@pytest.mark.parametrize(("then", "sees"), [("silence", "open"), ("reset", "reset")])
def test_a_callee_that_vanished_leaves_its_caller_half_open(wire_link, then, sees):
    caller, callee = wire_link.spoken()
    install(wire_link, "bytes.half_open", stream="upstream", then=then)
    assert ending(callee) == "reset"
    assert quiet(caller), "nobody told it"
    caller.sendall(b"hello?")
    assert ending(caller, 0.5) == sees
    other, server = wire_link.spoken()
    server.sendall(b"new ones work")
    assert take(other, 13) == b"new ones work"
    assert hits(wire_link)["hits"] == 1
    assert ending(caller) in ("reset", "eof" if sees == "reset" else "reset")


def test_a_caller_that_vanished_leaves_its_callee_half_open(wire_link):
    caller, callee = wire_link.spoken()
    install(wire_link, "bytes.half_open", stream="downstream")
    assert ending(caller) == "reset"
    callee.sendall(b"hello?")
    assert quiet(callee)
    hits(wire_link)
    assert ending(callee) == "reset"


def test_a_half_open_connection_is_gone_once_its_caller_left_and_the_fault_is_lifted(wire_link):
    caller, _ = wire_link.spoken()
    install(wire_link, "bytes.half_open", stream="upstream")
    caller.sendall(b"x")
    caller.close()
    hits(wire_link)
    deadline = time.monotonic() + 5
    while wire_link.wire.do("stats")["connections"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert wire_link.wire.do("stats")["connections"] == 0


def test_the_handshake_itself_is_held_until_the_fault_is_lifted(wire_link):
    caller, callee = wire_link.spoken()
    install(wire_link, "hold_connect", ms=60_000)
    with pytest.raises(TimeoutError):
        connect(wire_link, 0.5)
    callee.sendall(b"open ones live")
    assert take(caller, 14) == b"open ones live"
    assert hits(wire_link)["hits"] >= 1
    began = time.monotonic()
    wire_link.spoken()
    assert time.monotonic() - began < 1


def test_a_held_handshake_is_completed_when_its_time_is_over(wire_link):
    install(wire_link, "hold_connect", ms=500)
    began = time.monotonic()
    connect(wire_link)
    assert time.monotonic() - began >= 0.5
    assert hits(wire_link)["hits"] >= 1


def test_a_hold_that_held_nobody_counts_nothing(wire_link):
    install(wire_link, "hold_connect", ms=60_000)
    assert hits(wire_link)["hits"] == 0


@pytest.mark.skipif(not packets_can_be_seen(), reason="no right to see packets (CAP_NET_RAW)")
@pytest.mark.parametrize("how", ["blocking", "non-blocking"])
def test_what_a_closed_link_refuses_is_counted(wire_link, how):
    install(wire_link, "refuse")
    for _ in range(3):
        sock = wire_link.stack.enter_context(socket.socket())
        sock.settimeout(None if how == "blocking" else LIMIT_S)
        with pytest.raises(ConnectionRefusedError):
            sock.connect(("127.0.0.1", wire_link.port))
    assert hits(wire_link)["hits"] == 3
    assert len(wire_link.wire.rows("h")) == 3
    wire_link.spoken()


def test_a_refusal_that_did_not_happen_is_not_counted(wire_link):
    link = wire_link.wire
    other = link.link(None, name="a -> b")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", other), LIMIT_S)
    install(wire_link, "refuse")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", other), LIMIT_S)
    assert hits(wire_link)["hits"] == 0


def test_open_connections_that_a_refusing_link_resets_count_once_each(wire_link):
    caller, callee = wire_link.spoken()
    install(wire_link, "refuse")
    assert ending(caller) == "reset"
    assert ending(callee) == "reset"
    assert hits(wire_link)["hits"] == 1


@pytest.mark.skipif(not packets_can_be_seen(), reason="no right to see packets (CAP_NET_RAW)")
def test_each_refusal_is_counted_by_the_fault_that_was_in_force_then(wire_link):
    for times in (1, 2):
        install(wire_link, "refuse")
        for _ in range(times):
            with pytest.raises(ConnectionRefusedError):
                connect(wire_link)
        assert hits(wire_link)["hits"] == times
    assert len(wire_link.wire.rows("h")) == 3
