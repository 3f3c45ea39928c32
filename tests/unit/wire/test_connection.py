"""A connection ends once, with its attempt and with all that was said, whenever wire comes to look at its sockets."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
import uvloop

from pytest_chaos.model.fault import WireRule
from pytest_chaos.model.plan import StubOperation
from pytest_chaos.wire.ends import End, reset_socket
from pytest_chaos.wire.links import Link
from pytest_chaos.wire.spool import Spool
from pytest_chaos.wire.stub import Stub
from pytest_chaos.wire.tcp import Tcp
from pytest_chaos.wire.world import World

LIMIT_S, LINK = 5.0, "a -> b"
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def run(loop, main):
    async def limited():
        async with asyncio.timeout(LIMIT_S):
            await main()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(limited())


class Watched(World):
    """Tells when an attempt has ended."""

    def __init__(self, folder):
        super().__init__(seed=1, spool=Spool(folder / "spool"))
        self.some_ended = asyncio.Event()

    def end(self, record, **how):
        super().end(record, **how)
        self.some_ended.set()


def attempts(folder):
    rows = [json.loads(line) for line in (folder / "spool").read_text().splitlines()]
    return [row for row in rows if row["k"] == "a"]


@LOOPS
def test_a_large_answer_to_a_request_that_came_with_its_connection_is_whole(loop, tmp_path):
    """The answer closes the connection (HTTP/1.0) before wire's loop has told that it is accepted."""
    body, got = "x" * 5_000_000, []

    async def main():
        world = Watched(tmp_path)
        stub = Stub(LINK)
        stub.operations["GET /"] = StubOperation(body=body)
        link = Link(world, name=LINK, host="127.0.0.1", port=0, identify={}, stub=stub)
        link.refresh()
        with socket.create_connection((link.host, link.port)) as caller:
            caller.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while part := await asyncio.to_thread(caller.recv, 2**20):
                got.append(part)
        await world.some_ended.wait()
        link.close()

    run(loop, main)
    head, _, answer = b"".join(got).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert len(answer) == len(body)


@LOOPS
@pytest.mark.parametrize("later", range(6))
def test_an_attempt_ends_though_a_fault_has_taken_away_who_would_tell(loop, later, tmp_path, monkeypatch):
    """The caller's end vanishes so many turns of the loop after it has said its last; a FIN that a lifted fault held
    ends the connection in the same moment; and the callee resets it.
    """  # fmt: skip
    eof_received = End.eof_received

    async def main():
        world, callee_left = Watched(tmp_path), asyncio.Event()
        link = Link(world, name=LINK, host="127.0.0.1", port=0, identify={}, stub=None, handle=Tcp)

        def install(kind, **params):
            params["stream"] = "downstream"
            rule = WireRule(id=kind, fault="f", link=LINK, kind=f"bytes.{kind}", params=params)
            world.table.install("s", "t", [rule])
            link.strike()

        def turn(left):
            if left:
                asyncio.get_running_loop().call_soon(turn, left - 1)
            else:
                install("half_open")

        def eof(end):
            kept = eof_received(end)
            if callee_left.is_set():
                turn(later)
            callee_left.set()
            return kept

        monkeypatch.setattr(End, "eof_received", eof)
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as caller:
            link.upstream = server.getsockname()
            link.refresh()
            install("latency", latency=60_000)
            caller.connect((link.host, link.port))
            caller.sendall(b"\0asked")
            callee, _ = await asyncio.to_thread(server.accept)
            callee.sendall(b"\0answered")
            callee.shutdown(socket.SHUT_WR)
            await callee_left.wait()
            reset_socket(callee)
            caller.shutdown(socket.SHUT_WR)
            await world.some_ended.wait()
            assert not world.open
        link.close()
        world.spool.flush()

    run(loop, main)
    assert len(attempts(tmp_path)) == 1
