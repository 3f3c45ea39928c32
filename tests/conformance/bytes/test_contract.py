"""What every byte fault does to a TCP client and its server: the same by Toxiproxy behind wire and by wire alone."""

from __future__ import annotations

import contextlib
import random
import time

import pytest

from tests.conformance.bytes.kit import ending, quiet, take

NOISE = b"\0" + random.Random(3).randbytes(300_000)
BOTH = pytest.mark.parametrize("stream", ["upstream", "downstream"])


def ends(link, stream, *, spoken=True):
    """Give the sender's end and the receiver's of a direction."""
    caller, callee = link.spoken() if spoken else link.open()
    return (caller, callee) if stream == "upstream" else (callee, caller)


def round_s(sender, receiver, data=b"\0x"):
    began = time.monotonic()
    sender.sendall(data)
    assert take(receiver, len(data)) == data
    return time.monotonic() - began


@BOTH
def test_latency_delays_one_direction_of_open_and_new_connections_until_it_is_lifted(link, stream):
    sender, receiver = ends(link, stream)
    link.install("latency", stream, latency=250, jitter=0)
    assert round_s(sender, receiver) >= 0.25
    assert round_s(receiver, sender) < 0.2, "the other direction is as before"
    later = ends(link, stream)
    assert round_s(*later) >= 0.25
    hits = link.lift()
    assert round_s(sender, receiver) < 0.2
    if hits:
        assert (hits["hits"], hits["bytes"] >= 4) == (2, True)
        assert hits["first_ns"] < hits["last_ns"]


def test_what_a_latency_holds_is_given_at_once_when_it_is_lifted(link):
    sender, receiver = ends(link, "downstream")
    link.install("latency", latency=60_000, jitter=0)
    sender.sendall(b"held")
    assert quiet(receiver)
    link.lift()
    assert take(receiver, 4) == b"held"


def test_jitter_stays_in_its_range_and_in_order(link):
    sender, receiver = ends(link, "downstream")
    link.install("latency", latency=100, jitter=60)
    times = [round_s(sender, receiver, b"\0%03d" % number) for number in range(12)]
    assert min(times) >= 0.039
    assert max(times) - min(times) > 0.01, "they differ"


@BOTH
def test_bandwidth_paces_a_stream_and_loses_nothing(link, stream):
    sender, receiver = ends(link, stream)
    link.install("bandwidth", stream, rate=200)
    began = time.monotonic()
    sender.settimeout(30)
    sender.sendall(NOISE)
    assert take(receiver, len(NOISE)) == NOISE
    # 300 kB at 200 kB/s: 1.5 s; what is in flight as it begins may be counted on top by either engine.
    assert 1.2 < time.monotonic() - began < 6


def test_bandwidth_makes_the_sender_wait(link):
    sender, receiver = ends(link, "upstream")
    link.install("bandwidth", "upstream", rate=1)
    sender.settimeout(0.5)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 50_000_000:
            sent += sender.send(bytes(65536))
    assert sent < 50_000_000
    assert take(receiver, 1) == b"\0"


@BOTH
def test_a_slow_close_delays_the_end_and_not_the_data(link, stream):
    sender, receiver = ends(link, stream)
    link.install("slow_close", stream, delay=400)
    assert round_s(sender, receiver) < 0.3
    began = time.monotonic()
    sender.close()
    assert ending(receiver) in ("eof", "reset")
    assert time.monotonic() - began >= 0.4
    hits = link.lift()
    assert hits is None or hits["hits"] == 1


@BOTH
def test_a_timeout_drops_what_is_said_and_closes_both_ends(link, stream):
    sender, receiver = ends(link, stream)
    link.install("timeout", stream, timeout=300)
    sender.sendall(b"lost")
    assert quiet(receiver, 0.1)
    assert ending(receiver) == "eof"
    assert ending(sender) == "eof"
    hits = link.lift()
    assert hits is None or (hits["hits"], hits["bytes"]) == (1, 4)


@BOTH
def test_a_blackhole_keeps_the_connection_and_the_other_direction_and_its_lifting_closes_it(link, stream):
    sender, receiver = ends(link, stream)
    link.install("timeout", stream, timeout=0)
    sender.sendall(b"lost")
    assert quiet(receiver)
    assert round_s(receiver, sender) < 0.3
    link.lift()
    assert ending(receiver) == "eof"


def test_a_blackhole_reads_on_so_that_the_sender_never_waits(link):
    sender, _ = ends(link, "upstream")
    link.install("timeout", "upstream", timeout=0)
    sender.settimeout(20)
    sender.sendall(bytes(30_000_000))


@BOTH
def test_reset_peer_resets_a_new_connection_at_its_first_bytes(link, stream):
    link.install("reset_peer", stream, timeout=0)
    sender, receiver = ends(link, stream, spoken=False)
    sender.sendall(b"\0x")
    assert ending(receiver) == "reset"
    assert ending(sender) == "reset"
    hits = link.lift()
    assert hits is None or (hits["hits"], hits["bytes"]) == (1, 2)


def test_reset_peer_waits_its_time_and_does_nothing_to_silence(link):
    link.install("reset_peer", "upstream", timeout=300)
    sender, receiver = ends(link, "upstream", spoken=False)
    assert quiet(receiver)
    began = time.monotonic()
    sender.sendall(b"\0x")
    assert ending(receiver) == "reset"
    assert time.monotonic() - began >= 0.3


@BOTH
def test_a_slicer_cuts_a_message_up_and_loses_nothing(link, stream):
    sender, receiver = ends(link, stream)
    link.install("slicer", stream, average_size=100, size_variation=0, delay=20_000)
    began = time.monotonic()
    sender.sendall(NOISE[:1000])
    assert len(receiver.recv(65536)) <= 300
    take(receiver, 700)
    assert time.monotonic() - began >= 0.1
    hits = link.lift()
    assert hits is None or hits["bytes"] == 1000


@BOTH
def test_limit_data_passes_so_many_bytes_since_then_and_closes(link, stream):
    sender, receiver = ends(link, stream)
    link.install("limit_data", stream, bytes=5)
    sender.sendall(b"\0ab")
    assert take(receiver, 3) == b"\0ab"
    sender.sendall(b"cdefg")
    assert take(receiver, 100) == b"cd"
    hits = link.lift()
    assert hits is None or hits["hits"] == 1


def test_two_toxics_act_together_and_one_is_lifted_alone(link):
    sender, receiver = ends(link, "downstream")
    link.install("latency", latency=250, jitter=0, name="slow")
    link.install("limit_data", bytes=10, name="short")
    assert round_s(sender, receiver, b"abcd") >= 0.25
    link.lift("slow")
    assert round_s(sender, receiver, b"efgh") < 0.2
    sender.sendall(b"ijkl")
    assert take(receiver, 10) == b"ij"
