"""Byte faults under HTTP/1.1 and HTTP/2: what is recorded of a request does not depend on the engine."""

from __future__ import annotations

import pytest

from tests.conformance.bytes.kit import ending, take

ASKED = b"POST /pay HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
BODY = b"x" * 1000
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + BODY


def exchange(link, *, answer=ANSWER):
    """Ask and answer on a new connection; give the connection, and the end that the caller sees."""
    caller, callee = link.open()
    caller.sendall(ASKED)
    if take(callee, len(ASKED)) == ASKED:
        callee.sendall(answer)
    return caller, callee


@pytest.mark.parametrize(("toxic", "stream", "attributes", "sees", "error", "closed_by"), [
    ("limit_data", "downstream", {"bytes": 500}, "eof", "truncated", "callee"),
    ("limit_data", "downstream", {"bytes": 10}, "eof", "eof", "callee"),
    ("timeout", "downstream", {"timeout": 200}, "eof", "eof", "callee"),
])  # fmt: skip
def test_a_request_that_a_byte_fault_ended_is_recorded_alike(link, toxic, stream, attributes, sees, error, closed_by):
    link.install(toxic, stream, **attributes)
    caller, _ = exchange(link)
    assert ending(caller) == sees
    (attempt,) = link.wire.attempts()
    assert (attempt["protocol"], attempt["operation"]) == ("http/1.1", "POST /pay")
    assert (attempt["error"], attempt["closed_by"]) == (error, closed_by)
    assert "forwarded_ns" in attempt


def test_a_reset_is_recorded_as_one_and_wire_names_the_fault(link):
    link.install("reset_peer", "downstream", timeout=0)
    caller, _ = exchange(link)
    assert ending(caller) == "reset"
    (attempt,) = link.wire.attempts()
    assert attempt["error"] == "reset"
    by_wire = link.engine == "wire"
    assert (attempt["closed_by"], attempt.get("faults")) == (("wire", ["f1"]) if by_wire else ("callee", None))


@pytest.mark.parametrize("toxic", [
    ("latency", {"latency": 30, "jitter": 20}), ("slicer", {"average_size": 64, "size_variation": 0, "delay": 1000}),
    ("bandwidth", {"rate": 50}),
])  # fmt: skip
def test_keep_alive_lives_through_what_only_slows(link, toxic):
    name, attributes = toxic
    link.install(name, "downstream", name="down", **attributes)
    link.install(name, "upstream", name="up", **attributes)
    caller, callee = link.open()
    for _ in range(3):
        caller.sendall(ASKED)
        assert take(callee, len(ASKED)) == ASKED
        callee.sendall(ANSWER)
        assert take(caller, len(ANSWER)) == ANSWER
    attempts = link.wire.attempts(3)
    assert {attempt["status"] for attempt in attempts} == {200}
    assert all(attempt["answered_ns"] > attempt["forwarded_ns"] for attempt in attempts)


def test_a_fault_installed_and_lifted_between_requests_loses_nothing(link):
    caller, callee = link.open()
    for number in range(6):
        if number % 2:
            link.install("slicer", average_size=7, size_variation=0, delay=100)
        caller.sendall(ASKED)
        assert take(callee, len(ASKED)) == ASKED
        callee.sendall(ANSWER)
        assert take(caller, len(ANSWER)) == ANSWER
        if number % 2:
            link.lift()
    assert len(link.wire.attempts(6)) == 6


def test_http2_passes_through_toxics(link):
    preface, settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\0\4\0\0\0\0\0"
    link.install("slicer", "upstream", average_size=3, size_variation=0, delay=200)
    caller, callee = link.open()
    caller.sendall(preface + settings)
    # wire adds a setting of its own, so only the frame's type stays.
    assert take(callee, len(preface) + 4)[:-4] == preface
    callee.sendall(settings)
    assert take(caller, 4)[3:] == b"\4"
