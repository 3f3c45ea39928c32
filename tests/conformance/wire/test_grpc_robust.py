"""gRPC streams of every kind through wire, grpcio on both sides: in step, ended from either side, in flat memory."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

grpc = pytest.importorskip("grpc")

from pytest_chaos.wire.connection import PREFACE  # noqa: E402
from pytest_chaos.wire.http2 import frames  # noqa: E402
from pytest_chaos.wire.http2.frames import FrameReader  # noqa: E402
from pytest_chaos.wire.http2.header_reader import HeaderReader  # noqa: E402
from pytest_chaos.wire.http2.headers import Block, HeaderWriter  # noqa: E402
from tests.conformance.wire.grpc_kit import CALL, charge, code, run, until  # noqa: E402 - needs grpc

CHAT, FLOOD, SUM = (f"/shop.Payments/{name}" for name in ("Chat", "Flood", "Sum"))
MIB = 2**20


def rss_mib(pid):
    """Give a process's resident memory in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def test_a_conversation_is_passed_on_message_by_message(wire):
    """Each message is written only when the last one was answered: none may wait for another."""

    async def scenario(service, channel):
        call = channel.stream_stream(CHAT)()
        for number in range(100):
            await call.write(b"m%d" % number)
            assert await call.read() == b"M%d" % number
        await call.done_writing()
        assert await call.read() == grpc.aio.EOF

    run(wire, scenario)
    (attempt,) = wire.attempts()
    assert (attempt["request_messages"], attempt["response_messages"], attempt["grpc_status"]) == (100, 100, 0)


def test_a_stream_that_its_server_ends_with_an_error_is_recorded_with_what_came_before(wire):
    async def scenario(service, channel):
        async def flood(request, context):
            for number in range(3):
                yield b"%d" % number
            await context.abort(grpc.StatusCode.DATA_LOSS, "gone")

        service.flood = flood
        got = []
        call = channel.unary_stream(FLOOD)(b"x")
        try:
            async for answer in call:
                got += [answer]
        except grpc.aio.AioRpcError as wrong:
            return got, wrong.code().name, wrong.details()

    assert run(wire, scenario) == ([b"0", b"1", b"2"], "DATA_LOSS", "gone")
    (attempt,) = wire.attempts()
    assert (attempt["response_messages"], attempt["grpc_status"], attempt["upstream_grpc_status"]) == (3, 15, 15)


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_stream_that_its_client_gives_up_ends_at_the_server_too(wire, how):
    async def scenario(service, channel):
        ended = asyncio.Event()

        async def flood(request, context):
            try:
                yield b"first"
                await asyncio.sleep(20)
            finally:
                ended.set()

        service.flood = flood
        call = channel.unary_stream(FLOOD)(b"x", timeout=0.5 if how == "deadline" else None)
        assert await call.read() == b"first"
        if how == "cancel":
            call.cancel()
        await asyncio.wait_for(ended.wait(), 5)
        await asyncio.to_thread(wire.attempts)

    run(wire, scenario)
    (attempt,) = wire.attempts()
    assert attempt["response_messages"] == 1
    if how == "deadline" and "error" not in attempt:
        assert attempt["grpc_status"] == 4  # the server keeps the deadline too, and was the first to end the call
    else:
        assert (attempt["error"], attempt["closed_by"]) == ("timeout" if how == "deadline" else "reset", "caller")


def test_a_slow_reader_holds_its_sender_back_and_nobody_else(wire):
    async def scenario(service, channel):
        made = []

        async def flood(request, context):
            for number in range(200):
                made.append(number)
                yield bytes(MIB)

        service.flood = flood
        before = rss_mib(wire.process.pid)
        call = channel.unary_stream(FLOOD)(b"x")
        await call.read()
        await asyncio.sleep(0.5)
        assert len(made) < 100
        assert await asyncio.wait_for(charge(channel), 5) == b"X"
        assert rss_mib(wire.process.pid) - before < 24
        read = 1
        while await call.read() != grpc.aio.EOF:
            read += 1
        return read

    assert run(wire, scenario) == 200
    flood = next(row for row in wire.attempts(2) if row["operation"] == FLOOD)
    assert flood["response_messages"] == 200


def test_a_long_client_stream_goes_up_with_flat_memory(wire):
    async def scenario(service, channel):
        async def summed(requests, context):
            return b"%d" % sum([len(request) async for request in requests])

        async def parts():
            for _ in range(256):
                yield bytes(MIB)

        service.sum = summed
        assert await code(channel) == "OK"
        before = rss_mib(wire.process.pid)
        assert await channel.stream_unary(SUM)(parts()) == b"%d" % (256 * MIB)
        return rss_mib(wire.process.pid) - before

    assert run(wire, scenario) < 24
    assert wire.attempts(2)[1]["request_messages"] == 256


def test_compressed_and_empty_messages_are_counted_as_they_pass(wire):
    async def scenario(service, channel):
        assert await charge(channel, b"z" * 10_000, compression=grpc.Compression.Gzip) == b"Z" * 10_000
        assert await charge(channel, b"") == b""

    run(wire, scenario)
    rows = wire.attempts(2)
    assert [(row["request_messages"], row["response_messages"]) for row in rows] == [(1, 1), (1, 1)]
    assert rows[0]["request_bytes"] < 5_000


def test_more_calls_than_the_server_allows_at_once_wait_their_turn(wire, tcp_callee):
    """The callee counts by itself: grpcio's server counts calls for a while that it has answered, and refuses others.

    It does so to callers that come to it directly as well; wire can only pass that on.
    """
    most, head = [], Block([(b":status", b"200"), (b"content-type", b"application/grpc")])
    answer = head, b"\0\0\0\0\1y", Block([(b"grpc-status", b"0")])

    def serve(sock):
        reader, headers, writer = FrameReader(preface=len(PREFACE)), HeaderReader(), HeaderWriter()
        limit = (3).to_bytes(2, "big") + (3).to_bytes(4, "big")  # SETTINGS_MAX_CONCURRENT_STREAMS
        sock.sendall(frames.build(frames.SETTINGS, 0, 0, limit))
        begun, whole = set(), []
        while data := sock.recv(65_536):
            for frame in reader.feed(data):
                if frame.kind == frames.SETTINGS and not frame.flags & frames.ACK:
                    sock.sendall(frames.build(frames.SETTINGS, frames.ACK, 0))
                if frame.kind == frames.PING and not frame.flags & frames.ACK:
                    sock.sendall(frames.build(frames.PING, frames.ACK, 0, frame.payload))
                if frame.kind == frames.HEADERS:
                    headers.read(frame.payload)
                    begun.add(frame.stream)
                    most.append(len(begun))
                if frame.kind == frames.DATA and frame.flags & frames.END_STREAM:
                    whole.append(frame.stream)
            for stream in whole:
                begun.remove(stream)
                sock.sendall(writer.message(stream, *answer))
            whole.clear()

    async def main():
        async with grpc.aio.insecure_channel(f"127.0.0.1:{wire.link(tcp_callee(serve))}") as channel:
            calls = [channel.unary_unary(CALL)(b"%d" % number) for number in range(30)]
            assert await asyncio.gather(*calls) == [b"y"] * 30

    asyncio.run(asyncio.wait_for(main(), 20))
    assert max(most) <= 3
    rows = wire.attempts(30)
    assert {row["grpc_status"] for row in rows} == {0}


def test_a_stream_without_traffic_stays_open(wire):
    async def scenario(service, channel):
        call = channel.stream_stream(CHAT)()
        await call.write(b"a")
        assert await call.read() == b"A"
        await until(lambda: wire.do("mark")["open"])
        await asyncio.sleep(1.2)
        await call.write(b"b")
        assert await call.read() == b"B"
        await call.done_writing()

    run(wire, scenario)
