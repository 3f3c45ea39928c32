"""Bytes said to a connection that goes the short way, and to one that goes the long way: both must tell the same."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

from pytest_chaos.wire.connection import Connection
from pytest_chaos.wire.ends import End
from pytest_chaos.wire.spool import Spool
from pytest_chaos.wire.world import World

TIMES = ("connected_ns", "started_ns", "sent_ns", "forwarded_ns", "answered_ns", "ended_ns")
IDENTIFY = {"POST /pay/*": "json:/id", "/a.B/C": "pb:1"}


class Wired:
    """What an end is given, in place of a socket."""

    def __init__(self):
        self.did = []

    def write(self, data):
        self.did.append(data)

    def __getattr__(self, name):
        if name == "is_closing":
            return lambda: bool({"close", "abort"} & set(self.did))
        if name == "get_extra_info":
            return lambda _: None
        return lambda *_: self.did.append(name)

    def given(self):
        told = []
        for one in self.did:
            if isinstance(one, bytes) and told and isinstance(told[-1], bytes):
                told[-1] += one
            else:
                told.append(one)
        return told


def play(path, talk):
    """Play a talk; give the records left open, what the two ends were given, and the rows of the spool."""

    async def main():
        world = World(seed=1, spool=Spool(path))
        link = SimpleNamespace(
            name="a -> b", stub=None, handle=None, identify=dict(IDENTIFY), connections=set()
        )
        connection = Connection(world, link, None)
        ends = {"caller": connection.caller, "callee": connection.callee}
        for end in ends.values():
            end.connection_made(Wired())
        for who, data in talk:
            name, _, what = who.partition(" ")
            end = ends[name]
            if end.gone or end.transport.is_closing() or (end.got_eof and not what):
                continue
            if not what:
                end.data_received(data)
            elif what == "eof":
                end.eof_received()
            else:
                end.connection_lost(ConnectionResetError())
            await asyncio.sleep(0)
        open_ = [record.as_json() for record in world.open.values()]
        world.spool.close()
        return open_, {name: end.transport.given() for name, end in ends.items()}

    open_, given_ = asyncio.run(main())
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    path.unlink()
    for row in (*rows, *open_):
        row["times"] = {name: row.pop(name) for name in TIMES if name in row}
    return open_, given_, rows


def timeless(played):
    """Leave of the times which there are."""
    open_, given_, rows = played
    return [{**row, "times": sorted(row["times"])} for row in open_ + rows], given_


def same_both_ways(path, talk):
    short = timeless(play(path, talk))
    fast, End.takes_at_once = End.takes_at_once, property(lambda _: False)
    try:
        assert short == timeless(play(path, talk))
    finally:
        End.takes_at_once = fast
