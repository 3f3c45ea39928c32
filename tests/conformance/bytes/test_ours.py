"""What Toxiproxy has no word for; carried out by wire on every link."""

from __future__ import annotations

import socket
import time

from tests.conformance.bytes.kit import NAME, ending, take


def test_one_byte_of_a_stream_is_changed(wire_link):
    caller, callee = wire_link.spoken()
    wire_link.install("corrupt", at=3)
    callee.sendall(b"abcdef")
    got = take(caller, 6)
    assert (got[:2], got[3:]) == (b"ab", b"def")
    assert got[2:3] != b"c"
    hits = wire_link.lift()
    assert (hits["hits"], hits["bytes"]) == (1, 1)


def test_a_percentile_curve_is_kept_to(wire_link):
    caller, callee = wire_link.spoken()
    wire_link.install("latency", distribution="percentiles", percentiles={"50": 1, "90": 60})
    times = []
    for _ in range(40):
        began = time.monotonic()
        callee.sendall(b"x")
        assert take(caller, 1) == b"x"
        times.append(time.monotonic() - began)
    assert 8 <= sum(took > 0.005 for took in times) <= 32, "about half of them are beyond the median"


def test_a_connection_is_closed_after_a_time_whatever_is_said(wire_link):
    caller, callee = wire_link.spoken()
    began = time.monotonic()
    wire_link.install("close_after", ms=300)
    callee.sendall(b"x")
    assert take(caller, 1) == b"x"
    assert ending(caller) == "eof"
    assert ending(callee) == "eof"
    assert time.monotonic() - began >= 0.3


def test_a_fault_that_touched_nothing_counts_nothing(wire_link):
    wire_link.spoken()
    for toxic, attributes in (
        ("latency", {"latency": 9}),
        ("limit_data", {"bytes": 9}),
        ("corrupt", {"at": 1}),
        ("reset_peer", {"timeout": 0}),
        ("timeout", {"timeout": 0}),
        ("slow_close", {"delay": 9}),
    ):
        wire_link.install(toxic, **attributes)
        assert wire_link.lift()["hits"] == 0, toxic


def test_an_attempt_says_how_a_byte_fault_ended_it(wire_link):
    caller, callee = wire_link.open()
    wire_link.install("reset_peer", timeout=0)
    caller.sendall(b"\0x")
    take(callee, 2)
    callee.sendall(b"y")
    assert ending(caller) == "reset"
    (attempt,) = wire_link.wire.attempts()
    assert (attempt["error"], attempt["closed_by"], attempt["faults"]) == ("reset", "wire", ["f1"])
    (hit,) = wire_link.wire.rows("h")
    assert (hit["link"], hit["rule"]) == (NAME, "t")


def test_a_connection_that_waits_behind_a_fault_is_not_left_behind(wire_link):
    caller, callee = wire_link.spoken()
    wire_link.install("latency", "upstream", latency=300)
    callee.shutdown(socket.SHUT_WR)
    assert ending(caller) == "eof"
    caller.sendall(b"last words")
    caller.close()
    assert take(callee, 100) == b"last words"
    assert ending(callee) == "eof"
    callee.close()
    deadline = time.monotonic() + 5
    while wire_link.wire.do("stats")["connections"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert wire_link.wire.do("stats")["connections"] == 0


def test_a_connection_whose_last_words_a_blackhole_took_is_ended_when_it_is_lifted(wire_link):
    caller, callee = wire_link.spoken()
    wire_link.install("timeout", "upstream", timeout=0)
    callee.shutdown(socket.SHUT_WR)
    assert ending(caller) == "eof"
    caller.sendall(b"last words")
    caller.close()
    assert ending(callee, 0.3) == "open"
    assert wire_link.wire.do("stats")["connections"] == 1
    wire_link.lift()
    assert ending(callee) == "eof"
    deadline = time.monotonic() + 5
    while wire_link.wire.do("stats")["connections"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert wire_link.wire.do("stats")["connections"] == 0
