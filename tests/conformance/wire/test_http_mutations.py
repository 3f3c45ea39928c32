"""Two thousand broken HTTP conversations through wire, rules loaded: no crash, no hang, flat memory, others well."""

from __future__ import annotations

import asyncio
import random

import httpx

from pytest_chaos.wire.http2 import frames
from pytest_chaos.wire.http2.call import Http2Call
from pytest_chaos.wire.http2.headers import Block, HeaderWriter
from tests.conformance.wire.mutation_kit import AT_ONCE, FLAT_MIB, PATIENCE_S, STREAMS, mutated, rss_mib

PSEUDO = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/x")]
GRPC = [*PSEUDO, (b"content-type", b"application/grpc"), (b"te", b"trailers")]
ASKED = [
    b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 3,
    b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world",
    b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x85abcd12345",
    b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok",
    Http2Call(Block(PSEUDO), b"hello" * 50, Block([(b"x-t", b"1")])).begin(),
    Http2Call(Block(GRPC), b"\0\0\0\0\5hello\0\0\0\0\1x", None).begin(),
]
_H2 = HeaderWriter()
ANSWERED = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    frames.build(frames.SETTINGS, 0, 0)
    + _H2.frames(1, Block([(b":status", b"200"), (b"content-type", b"application/grpc")]), end=False)
    + frames.build(frames.DATA, 0, 1, b"\0\0\0\0\5hello")
    + _H2.frames(1, Block([(b"grpc-status", b"0")]), end=True),
]
COMMON = {"fault": "f", "when": {"probability": 0.3}}
RULES = [
    {"kind": "header", "params": {"name": "x-a", "value": None, "at": "response"}},
    {"kind": "header", "params": {"name": "host", "value": "y"}},
    {"kind": "deliver_twice", "params": {}},
    {"kind": "wrong_length", "params": {"by": 3}},
    {"kind": "truncate", "params": {"bytes": 2, "length": "adjusted"}},
    {"kind": "stall", "params": {"bytes": 1, "ms": 1}},
    {"kind": "latency", "params": {"ms": 1}},
    {"kind": "hold", "params": {"ms": 1}},
    {"kind": "grpc_abort", "params": {"code": 14, "messages": 1}},
    {"kind": "grpc_abort", "params": {"code": 14, "messages": 1, "at": "request"}},
    {"kind": "deliver_late", "params": {"how": "close"}, "when": {"probability": 0.05}},
]


async def converse(port, data):
    """Say something broken and half-close; True when the other side then ends, in whatever way."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(data)
            writer.write_eof()
            async with asyncio.timeout(PATIENCE_S):
                while await reader.read(65536):
                    pass
        finally:
            writer.close()
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_broken_conversations_end_and_disturb_nobody(wire, callee):
    chance = random.Random(STREAMS)
    answers = [mutated(chance, chance.choice(ANSWERED)) for _ in range(200)]

    async def main():
        async def answer(reader, writer):
            try:
                await reader.read(65536)
                writer.write(chance.choice(answers))
                await writer.drain()
            except OSError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        stub = wire.link(name="a -> stub", operations={"**": {"status": 200, "body": "ok"}}, ledger="stub")
        broken = wire.link(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", name="a -> broken")
        well = f"http://127.0.0.1:{wire.link(callee.address)}"
        for number, link in enumerate(("a -> stub", "a -> broken")):
            rules = [{**COMMON, **rule, "id": f"r{at}", "link": link} for at, rule in enumerate(RULES)]
            wire.do("install", schedule=f"s{number}", owner="t", rules=rules)
        gate, over, codes, memory = asyncio.Semaphore(AT_ONCE), asyncio.Event(), [], []

        async def one(number):
            async with gate:
                data = mutated(chance, chance.choice(ASKED))
                if number % 200 == 0:
                    memory.append(rss_mib(wire.process.pid))
                return data if not await converse(stub if number % 2 else broken, data) else None

        async def valid():
            async with httpx.AsyncClient(base_url=well, timeout=PATIENCE_S) as client:
                while not over.is_set():
                    codes.append((await client.post("/x", content=b"y" * 1000)).status_code)
                    await asyncio.sleep(0.01)

        beside = asyncio.ensure_future(valid())
        hung = [data for data in await asyncio.gather(*(one(number) for number in range(STREAMS))) if data]
        over.set()
        await beside
        server.close()
        return hung, codes, memory

    hung, codes, memory = asyncio.run(main())
    assert hung == []
    assert len(codes) > 10
    assert set(codes) == {200}
    assert memory[-1] - memory[len(memory) // 2] < FLAT_MIB
    wire.do("reset")
    assert wire.process.poll() is None
