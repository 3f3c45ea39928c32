"""Plain HTTP/2 as large and as slow as it gets: bodies in flat memory, events at once, back-pressure to the sender."""

from __future__ import annotations

import contextlib
import os
import threading

import pytest

from pytest_chaos.wire.connection import PREFACE
from pytest_chaos.wire.http2 import frames
from pytest_chaos.wire.http2.frames import FrameReader
from pytest_chaos.wire.http2.header_reader import HeaderReader
from pytest_chaos.wire.http2.headers import Block, HeaderWriter
from tests.conformance.wire.mutation_kit import MIB, rss_mib

LARGE_MIB = int(os.environ.get("PYTEST_CHAOS_BODY_MIB", "256"))
"""``make soak`` sends a GiB."""
WIDEST = 2**31 - 1
WIDE = (4).to_bytes(2, "big") + WIDEST.to_bytes(4, "big")
HEAD = Block([(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/up")])
FINE = Block([(b":status", b"200")])
PART = frames.build(frames.DATA, 0, 1, b"x" * 16_384) * 64
"""A MiB of body."""


class Peer:
    """One end of an HTTP/2 connection with one stream, frame by frame; it never keeps its peer waiting for credit."""

    def __init__(self, sock, *, caller):
        self.sock, self.got = sock, 0
        self._reader = FrameReader(preface=0 if caller else len(PREFACE))
        self._headers, self._frames = HeaderReader(), []
        self.writer = HeaderWriter()
        hello = frames.build(frames.SETTINGS, 0, 0, WIDE) + frames.window_update(0, WIDEST - 65_535)
        sock.sendall(PREFACE * caller + hello)

    def next(self, kind):
        """Give the next frame of a kind on the stream; count the body's bytes, acknowledge settings."""
        while True:
            while self._frames:
                frame = self._frames.pop(0)
                if frame.kind == frames.DATA:
                    self.got += len(frame.content())
                elif frame.kind == frames.SETTINGS and not frame.flags & frames.ACK:
                    self.sock.sendall(frames.build(frames.SETTINGS, frames.ACK, 0))
                if frame.kind == kind and (frame.stream or kind == frames.SETTINGS):
                    return frame
            data = self.sock.recv(MIB)
            assert data, "closed"
            self._frames = self._reader.feed(data)

    def body(self):
        """Take the rest of the body."""
        while not self.next(frames.DATA).flags & frames.END_STREAM:
            pass

    def head(self, block, *, end=False):
        self.sock.sendall(self.writer.frames(1, block, end=end))

    def finish(self):
        self.sock.sendall(frames.build(frames.DATA, frames.END_STREAM, 1))


def begun(sock):
    """A caller whose peer has given it all the credit there is."""
    caller = Peer(sock, caller=True)
    while caller.next(frames.SETTINGS).flags & frames.ACK:
        pass
    caller.head(HEAD)
    return caller


def test_a_body_goes_up_and_comes_down_with_flat_memory(wire, tcp_callee, raw):
    taken = []

    def serve(sock):
        callee = Peer(sock, caller=False)
        callee.next(frames.HEADERS)
        callee.body()
        taken.append(callee.got)
        callee.head(FINE)
        for _ in range(LARGE_MIB):
            sock.sendall(PART)
        callee.finish()

    caller = begun(raw(wire.link(tcp_callee(serve))))
    before = rss_mib(wire.process.pid)
    most = before
    for number in range(LARGE_MIB):
        caller.sock.sendall(PART)
        if number % 32 == 0:
            most = max(most, rss_mib(wire.process.pid))
    caller.finish()
    while not caller.next(frames.DATA).flags & frames.END_STREAM:
        if caller.got % (32 * MIB) == 0:
            most = max(most, rss_mib(wire.process.pid))
    assert taken == [LARGE_MIB * MIB]
    assert caller.got == LARGE_MIB * MIB
    assert most - before < 24
    (attempt,) = wire.attempts()
    assert (attempt["status"], attempt["protocol"], attempt.get("error", "")) == (200, "h2", "")
    assert min(attempt["request_bytes"], attempt["response_bytes"]) >= LARGE_MIB * MIB


def test_an_upload_is_not_taken_faster_than_the_callee_reads(wire, tcp_callee, raw):
    read = threading.Event()

    def slow(sock):
        callee = Peer(sock, caller=False)
        callee.next(frames.HEADERS)
        read.wait(10)
        callee.body()
        callee.head(FINE, end=True)

    caller = begun(raw(wire.link(tcp_callee(slow))))
    before = rss_mib(wire.process.pid)
    caller.sock.settimeout(0.5)
    sent, whole = 0, PART * 64
    with contextlib.suppress(TimeoutError):  # the callee's windows are as wide as can be: only TCP holds the caller
        while sent < len(whole):
            sent += caller.sock.send(whole[sent : sent + MIB])
    assert sent < 32 * MIB
    assert rss_mib(wire.process.pid) - before < 24
    read.set()
    caller.sock.settimeout(10)
    caller.sock.sendall(whole[sent:])
    caller.finish()
    assert caller.next(frames.HEADERS).flags & frames.END_STREAM
    assert wire.attempts()[0]["status"] == 200


@pytest.mark.parametrize("rule", [None, {"kind": "header", "name": "x", "value": "1", "at": "response"}])
def test_events_pass_at_once(wire, tcp_callee, raw, rule):
    """The next event is made only when the last one was read: none may wait for another."""
    turn = threading.Semaphore(0)

    def events(sock):
        callee = Peer(sock, caller=False)
        callee.next(frames.HEADERS)
        callee.head(FINE)
        for number in range(20):
            sock.sendall(frames.build(frames.DATA, 0, 1, b"data: %d\n\n" % number))
            assert turn.acquire(timeout=5)
        callee.finish()

    port = wire.link(tcp_callee(events))
    if rule:
        wire.rule(**rule)
    caller = begun(raw(port))
    caller.finish()
    seen = []
    while not (frame := caller.next(frames.DATA)).flags & frames.END_STREAM:
        seen.append(frame.content())
        turn.release()
    assert seen == [b"data: %d\n\n" % number for number in range(20)]
    assert wire.attempts()[0]["status"] == 200
