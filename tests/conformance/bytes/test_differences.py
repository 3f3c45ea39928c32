"""Where the engines differ, as data: what each really does, and nothing beside it. The right column is the contract."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from tests.conformance.bytes.kit import LIMIT_S, NAME, ending, quiet, take

DIFFERENCES = {
    # what is done: (Toxiproxy 2.12, wire)
    "the caller half-closes and waits for the answer": ("eof", "answer"),
    "reset_peer on a connection that was open before": ("eof", "reset"),
    "timeout of 400 ms on a connection that says something each 100 ms": ("open", "eof"),
    "lifting a blackhole on a connection that said nothing": ("eof", "open"),
    "a FIN behind bytes that a blackhole took": ("eof", "open"),
    "lifting a reset_peer of 1500 ms while it waits": ("late, eof", "at once, answer"),
    "the callee is not there": ("eof", "reset"),
    "a bandwidth of 0 kB/s": ("stalls", "refused"),
}


def half_close(link):
    caller, callee = link.spoken()
    caller.shutdown(1)
    assert callee.recv(10) == b""
    with contextlib.suppress(OSError):
        callee.sendall(b"answer")
    return (take(caller, 6) or b"eof").decode()


def reset_of_an_open_one(link):
    caller, callee = link.spoken()
    link.install("reset_peer", "upstream", timeout=0)
    caller.sendall(b"x")
    return ending(callee)


def chatty_timeout(link):
    caller, callee = link.spoken()
    link.install("timeout", timeout=400)
    over = threading.Event()

    def chat():
        with contextlib.suppress(OSError):
            while not over.wait(0.1):
                callee.sendall(b"x")

    talker = threading.Thread(target=chat, daemon=True)
    talker.start()
    try:
        return ending(caller, 1.5)
    finally:
        over.set()
        talker.join()


def untouched_blackhole(link):
    caller, _ = link.spoken()
    link.install("timeout", timeout=0)
    link.lift()
    return ending(caller, 0.5)


def fin_in_a_blackhole(link):
    caller, callee = link.spoken()
    link.install("timeout", timeout=0)
    callee.sendall(b"x")
    callee.close()
    return ending(caller, 0.5)


def lifted_reset(link):
    caller, callee = link.spoken()
    link.install("reset_peer", "upstream", timeout=1500)
    caller.sendall(b"answer")
    assert quiet(callee, 0.2)
    began = time.monotonic()
    link.lift()
    late = "late" if time.monotonic() - began > 1 else "at once"
    callee.settimeout(LIMIT_S)
    return f"{late}, {(take(callee, 6) or b'eof').decode()}"


def no_callee(link):
    link.listener.close()
    try:
        caller = link.stack.enter_context(socket.create_connection(("127.0.0.1", link.port), LIMIT_S))
    except ConnectionResetError:  # wire dials while the caller connects: its RST may come before connect() has returned
        return "reset"
    return ending(caller)


def no_bandwidth(link):
    caller, callee = link.spoken()
    if link.engine == "wire":
        rule = {"id": "r", "fault": "f", "link": NAME, "kind": "bytes.bandwidth", "params": {"rate": 0}}
        answer = link.wire.ask("install", schedule="s", rules=[rule])
        return "refused" if "rate=0" in answer.get("error", "") else "passes"
    link.install("bandwidth", rate=0)
    callee.sendall(b"x")
    return "stalls" if quiet(caller, 0.5) else "passes"


TRIED = dict(
    zip(
        DIFFERENCES,
        (
            half_close,
            reset_of_an_open_one,
            chatty_timeout,
            untouched_blackhole,
            fin_in_a_blackhole,
            lifted_reset,
            no_callee,
            no_bandwidth,
        ),
        strict=True,
    )
)


@pytest.mark.parametrize("what", DIFFERENCES)
def test_a_difference_is_exactly_what_the_table_says(link, what):
    assert TRIED[what](link) == DIFFERENCES[what][link.engine == "wire"]
