"""Faults on frames of any protocol: order, lanes, what is lost and what waits. The reader here speaks lines of text."""

from __future__ import annotations

import asyncio
import itertools
import json
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_chaos.model.fault import When, WireRule
from pytest_chaos.wire.framed.connection import Framed
from pytest_chaos.wire.framed.lanes import HELD_LIMIT
from pytest_chaos.wire.framed.reader import BadFrame, Call, Frame
from pytest_chaos.wire.spool import Spool
from pytest_chaos.wire.world import World

LINK = "orders -> bus"


class Lines:
    """Lines: ``call ID LANE OP``, ``poll ID LANE OP``, ``tell ID LANE OP`` (unanswered), ``done IDS LANE ERROR``,
    ``part LANE TEXT`` (more to come), anything else means nothing; ``BAD`` is no frame.
    """  # fmt: skip

    name = "amqp"

    def __init__(self, *, in_order=False):
        self.in_order, self.split_acks = in_order, False
        self.left = {"caller": b"", "callee": b""}

    def from_caller(self, data):
        return self.read("caller", data)

    def from_callee(self, data):
        return self.read("callee", data)

    def unread(self, side):
        left, self.left[side] = self.left[side], b""
        return left

    def read(self, side, data):
        data = self.left[side] = self.left[side] + data
        if b"BAD" in data:
            raise BadFrame("bad line")
        *lines, rest = data.split(b"\n")
        self.left[side] = rest
        return [self.frame(side, line + b"\n") for line in lines]

    @staticmethod
    def frame(side, raw):
        words = raw.decode().split()
        match words:
            case [("call" | "poll" | "tell" | "big") as kind, id_, lane, operation, *_]:
                call = Call(
                    id=id_, operation=operation, by=side, answered=kind != "tell", background=kind == "poll",
                    headers={"x-correlation-id": id_},
                )  # fmt: skip
                return Frame(raw=raw, begins=call, lane=lane, more=kind == "big")
            case ["done", ids, lane, *error]:
                return Frame(raw=raw, answers=tuple(ids.split(",")), lane=lane, error="".join(error))
            case ["part", lane, *_]:
                return Frame(raw=raw, lane=lane, more=True)
            case ["last", lane, *_]:
                return Frame(raw=raw, lane=lane, body_hash="whole")
            case ["lane", lane, *_]:
                return Frame(raw=raw, lane=lane)
        return Frame(raw=raw)


class FakeEnd:
    """What Framed needs of an end: remembers what was done to it."""

    def __init__(self):
        self.got, self.done, self.stops, self.got_eof, self.gone = b"", [], set(), False, False
        self.transport = object()

    def write(self, data):
        self.got += data

    def write_eof(self):
        self.done.append("eof")

    def reset(self):
        self.done.append("reset")

    def close(self):
        self.done.append("close")

    def stop(self, reason):
        self.stops.add(reason)

    def resume(self, reason):
        self.stops.discard(reason)


class FakeConnection:
    """A connection whose ends are fakes."""

    def __init__(self, world, reader):
        self.world, self.id, self.connected_ns = world, "c1", 1
        self.opaque = []
        self.link = types.SimpleNamespace(name=LINK, saw_opaque=self.opaque.append)
        self.caller, self.callee = FakeEnd(), FakeEnd()
        self.handler = Framed(self, reader)

    def reset_both(self):
        self.caller.reset()
        self.callee.reset()

    def close(self):
        self.caller.close()
        self.callee.close()

    def close_when_both_ended(self):
        pass

    def callee_or_close(self):
        self.callee.write_eof()


class Bench:
    """A world, a connection, and rules on it."""

    def __init__(self, folder, *, in_order=False):
        self.path = folder / "spool"
        self.world = World(seed=1, spool=Spool(self.path))
        self.connection = FakeConnection(self.world, Lines(in_order=in_order))
        self.caller, self.callee = self.connection.caller, self.connection.callee

    def rule(self, kind, operation="", *, when=None, **params):
        rule = WireRule(
            id="r", fault="f", link=LINK, kind=kind, operation=operation, when=when or When(), params=params
        )
        self.world.table.install("s", "t", [rule])

    async def lift(self):
        self.world.lift(self.world.table.uninstall())
        await settle()

    async def ask(self, text):
        self.connection.handler.from_caller(text.encode())
        await settle()

    async def tell(self, text):
        self.connection.handler.from_callee(text.encode())
        await settle()

    def rows(self):
        self.world.spool.flush()
        return {row["id"]: row for row in map(json.loads, self.path.read_text().splitlines()) if row["k"] == "a"}


async def settle():
    for _ in range(6):
        await asyncio.sleep(0)


@pytest.fixture
def play(tmp_path):
    """Run a coroutine function on a bench."""

    def run(work, **options):
        async def main():
            bench = Bench(tmp_path, **options)
            await work(bench)
            return bench

        return asyncio.run(main())

    return run


def test_calls_are_recorded_from_both_sides(play):
    async def work(bench):
        await bench.ask("call 1 a publish\npoll 2 a beat\ntell 3 a fire\n")
        await bench.tell("call 4 a deliver\ndone 1 a nack\ndone 2 a\n")
        await bench.ask("done 4 a\n")
        assert bench.world.open == {}
        assert bench.callee.got == b"call 1 a publish\npoll 2 a beat\ntell 3 a fire\ndone 4 a\n"

    rows = list(play(work).rows().values())
    assert sorted(row["operation"] for row in rows) == ["deliver", "fire", "publish"]
    by = {row["operation"]: row for row in rows}
    assert by["publish"]["response_headers"] == {"error": "nack"}
    assert by["publish"]["request_headers"] == {"x-correlation-id": "1"}
    assert "answered_ns" not in by["fire"]
    assert by["deliver"]["forwarded_ns"] <= by["deliver"]["answered_ns"]


def test_a_held_delivery_holds_its_lane_and_no_other(play):
    async def work(bench):
        bench.rule("hold", "deliver", at="request", ms=None)
        await bench.tell("call 1 a deliver\nlane a behind\nlane b free\nnothing\n")
        assert bench.caller.got == b"lane b free\nnothing\n"
        await bench.lift()
        assert bench.caller.got == b"lane b free\nnothing\ncall 1 a deliver\nlane a behind\n"

    play(work)


def test_where_answers_come_in_order_everything_waits(play):
    async def work(bench):
        await bench.ask("call 1 a x\ncall 2 b y\n")
        bench.rule("hold", "z", ms=None)
        await bench.ask("call 3 a z\ncall 4 a y\n")
        await bench.tell("done 1 a\ndone 3 a\nnothing\ndone 4 a\n")
        assert bench.caller.got == b"done 1 a\n"
        await bench.lift()
        assert bench.caller.got == b"done 1 a\ndone 3 a\nnothing\ndone 4 a\n"

    play(work, in_order=True)


def test_a_swallowed_answer_leaves_the_connection_alive(play):
    async def work(bench):
        bench.rule("answer_lost", "publish", how="hang", when=When(nth=(1,)))
        await bench.ask("call 1 a publish\ncall 2 a publish\n")
        await bench.tell("done 1 a\ndone 2 a\n")
        assert bench.caller.got == b"done 2 a\n"
        assert bench.caller.done == bench.callee.done == []

    rows = play(work).rows()
    assert [(row.get("error"), row.get("closed_by")) for row in rows.values()] == [("eof", "wire"), (None, None)]


def test_an_answer_to_many_is_lost_for_all_of_them(play):
    async def work(bench):
        bench.rule("answer_lost", "b", how="hang")
        await bench.ask("call 1 a x\ncall 2 a b\n")
        await bench.tell("done 1,2 a\n")
        assert bench.caller.got == b""
        assert bench.world.open == {}

    assert [row["error"] for row in play(work).rows().values()] == ["eof", "eof"]


def test_where_answers_come_in_order_a_lost_one_silences_the_connection_until_it_is_reset(play):
    async def work(bench):
        bench.rule("answer_lost", "x", how="hang")
        await bench.ask("call 1 a x\ncall 2 a y\n")
        await bench.tell("done 1 a\ndone 2 a\n")
        assert bench.caller.got == b""
        assert bench.caller.done == []
        await bench.lift()
        assert bench.caller.got == b""
        assert bench.caller.done == ["reset"]

    play(work, in_order=True)


def test_a_cut_comes_behind_what_was_held_before_it(play):
    async def work(bench):
        bench.world.table.install("s", "t", [
            WireRule(id="h", fault="h", link=LINK, kind="hold", operation="x", params={"ms": None, "at": "request"}),
        ])  # fmt: skip
        bench.world.table.install("s2", "t", [
            WireRule(id="c", fault="c", link=LINK, kind="reset", operation="y", params={"at": "request"}),
        ])  # fmt: skip
        await bench.ask("call 1 a x\ncall 2 a y\ncall 3 a z\n")
        assert bench.callee.got == b""
        assert bench.callee.done == []
        bench.world.lift(bench.world.table.uninstall(schedule="s"))
        await settle()
        assert bench.callee.got == b"call 1 a x\n"
        assert bench.callee.done == ["reset"]
        assert bench.world.open == {}

    rows = play(work).rows()
    assert [row.get("closed_by") for row in rows.values()] == ["wire"] * 3
    assert ["forwarded_ns" in rows[name] for name in ("a1", "a2", "a3")] == [True, False, False]


@pytest.mark.parametrize(("size", "given"), [(0, b""), (4, b"done"), (100, b"done 1 a")])
def test_a_truncated_answer_is_never_whole(play, size, given):
    async def work(bench):
        bench.rule("truncate", "x", bytes=size)
        await bench.ask("call 1 a x\n")
        await bench.tell("done 1 a\n")
        assert bench.caller.got == given
        assert bench.caller.done == ["close"]

    assert play(work).rows()["a1"]["error"] == "truncated"


def test_parts_stay_together(play):
    async def work(bench):
        bench.rule("hold", "x", at="request", ms=None)
        await bench.ask("big 1 a x\npart a middle\n")
        await bench.ask("last a end\nlane a behind\n")
        assert bench.callee.got == b""
        await bench.lift()
        assert bench.callee.got == b"big 1 a x\npart a middle\nlast a end\nlane a behind\n"
        await bench.ask("big 2 a y\n")
        await bench.tell("done 1 a\n")
        await bench.ask("last a end\n")
        await bench.tell("done 2 a\n")

    rows = play(work).rows()
    assert [row["body_hash"] for row in rows.values()] == ["whole", "whole"]
    assert rows["a1"]["request_bytes"] == len("big 1 a x\npart a middle\nlast a end\n")


def test_what_waits_makes_its_sender_wait(play):
    async def work(bench):
        bench.rule("hold", "x", at="request", ms=None)
        await bench.ask("call 1 a x\nlane a " + "z" * HELD_LIMIT + "\n")
        assert bench.caller.stops == {"held"}
        assert bench.callee.stops == set()
        await bench.lift()
        assert bench.caller.stops == set()

    play(work)


def test_a_protocol_surprise_lets_everything_go_and_relays_the_rest(play):
    async def work(bench):
        bench.rule("hold", "x", at="request", ms=None)
        await bench.ask("call 1 a x\nlane a behind\n")
        await bench.ask("half BAD")
        assert bench.callee.got == b"call 1 a x\nlane a behind\nhalf BAD"
        await bench.tell("call 9 a anything\n")
        assert bench.caller.got == b"call 9 a anything\n"
        assert bench.connection.opaque == ["bad line"]
        assert [record.protocol for record in bench.world.open.values()] == ["tcp"]
        bench.connection.handler.lost(caller=True, reset=False)

    rows = list(play(work).rows().values())
    assert rows[0]["error"] == "opaque"
    assert rows[1]["request_headers"] == {"opaque": "bad line"}


def test_a_call_whose_id_another_has_taken_ends_all_the_same(play):
    async def work(bench):
        await bench.ask("call 1 a x\ncall 1 a y\n")
        await bench.tell("done 1 a\n")
        assert [record.operation for record in bench.world.open.values()] == ["x"]
        bench.connection.handler.lost(caller=True, reset=False)
        assert bench.world.open == {}

    assert {row["operation"]: row.get("error", "") for row in play(work).rows().values()} == {"x": "eof", "y": ""}


def test_what_a_call_holds_goes_on_when_it_ends_without_having_been_passed_on(play):
    async def work(bench):
        bench.rule("hold", "x", at="request", ms=None)
        await bench.ask("call 1 a x\ncall 2 a y\nlane a behind\n")
        assert bench.callee.got == b""
        await bench.tell("done 1 b closed\n")  # as a broker's close ends what it never saw
        assert bench.callee.got == b"call 1 a x\ncall 2 a y\nlane a behind\n"
        await bench.tell("done 2 a\n")
        await bench.lift()
        assert bench.world.open == {}

    rows = {row["operation"]: row for row in play(work).rows().values()}
    assert "forwarded_ns" not in rows["x"]
    assert rows["y"]["forwarded_ns"]


def test_calls_without_an_answer_are_not_remembered_without_end(play, monkeypatch):
    monkeypatch.setattr("pytest_chaos.wire.framed.connection.OPEN_LIMIT", 3)

    async def work(bench):
        said = "call 1 a x\ncall 2 a x\ncall 3 a x\nlane a behind\ncall 4 a x\nhalf"
        await bench.ask(said)
        await bench.ask(" a line\n")
        assert bench.callee.got.decode() == said + " a line\n"
        assert bench.connection.opaque == ["too many calls without an answer"]
        bench.connection.handler.lost(caller=True, reset=False)
        assert bench.world.open == {}

    assert [row.get("error", "") for row in play(work).rows().values()] == ["opaque"] * 3 + [""]


def test_fin_comes_behind_what_is_held_and_what_is_no_frame(play):
    async def work(bench):
        bench.rule("hold", "x", ms=None)
        await bench.ask("call 1 a x\ncall 2 b y\n")
        await bench.tell("done 1 a\nrest")
        bench.connection.handler.callee_eof()
        assert bench.caller.got == b"rest"
        assert bench.caller.done == []
        await bench.lift()
        assert bench.caller.got == b"restdone 1 a\n"
        assert bench.caller.done == ["eof"]

    rows = play(work).rows()
    assert (rows["a2"]["error"], rows["a2"]["closed_by"]) == ("eof", "callee")
    assert "error" not in rows["a1"]


def test_a_caller_that_half_closes_is_the_one_that_left(play):
    async def work(bench):
        await bench.ask("call 1 a x\n")
        bench.connection.handler.caller_eof()
        assert bench.callee.done == ["eof"]
        bench.connection.handler.callee_eof()

    row = play(work).rows()["a1"]
    assert (row["error"], row["closed_by"]) == ("eof", "caller")


def test_fin_while_something_is_held_is_giving_up(play):
    async def work(bench):
        bench.rule("hold", "x", at="request", ms=None)
        await bench.ask("call 1 a x\n")
        bench.connection.handler.caller_eof()
        assert bench.callee.done == ["close"]
        await bench.lift()
        assert bench.callee.got == b""

    assert play(work).rows()["a1"]["closed_by"] == "caller"


def test_losses_end_what_is_open(play):
    async def work(bench):
        await bench.ask("call 1 a x\n")
        await bench.tell("call 2 a deliver\n")
        bench.connection.handler.lost(caller=False, reset=True)
        assert bench.caller.done == ["reset"]

    assert [(row["error"], row["closed_by"]) for row in play(work).rows().values()] == [("reset", "callee")] * 2


def test_a_callee_that_is_not_there_did_nothing(play):
    async def work(bench):
        await bench.ask("call 1 a x\n")
        bench.connection.handler.undialled("refused")

    row = play(work).rows()["a1"]
    assert (row["error"], row["closed_by"]) == ("refused", "callee")
    assert "forwarded_ns" not in row


def test_a_callee_that_is_not_there_is_an_attempt_even_if_nothing_was_asked(play):
    async def work(bench):
        bench.connection.handler.undialled("refused")

    assert play(work).rows()["a1"]["protocol"] == "tcp"


def test_a_closed_link_ends_what_is_open_by_its_fault(play):
    async def work(bench):
        await bench.ask("call 1 a x\n")
        bench.connection.handler.shut("f9")

    row = play(work).rows()["a1"]
    assert (row["error"], row["closed_by"], row["faults"]) == ("reset", "wire", ["f9"])


def test_polls_are_recorded_when_a_rule_names_them(play):
    async def work(bench):
        bench.rule("latency", ms=0)
        await bench.ask("poll 1 a beat\n")
        await bench.tell("call 2 a deliver\n")
        bench.rule("latency", "beat", ms=0)
        await bench.ask("poll 3 a beat\n")
        await asyncio.sleep(0.01)
        await bench.tell("done 3 a\ndone 1 a\n")

    rows = play(work).rows()
    assert [(row["operation"], row.get("faults")) for row in rows.values()] == [("beat", ["f"])]


def test_acks_are_to_be_split_while_rules_are_in_force(play):
    async def work(bench):
        reader = bench.connection.handler._reader
        await bench.ask("nothing\n")
        assert not reader.split_acks
        bench.rule("latency", "x", ms=1)
        await bench.ask("nothing\n")
        assert reader.split_acks

    play(work)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y"])), max_size=12),
    st.lists(st.integers(0, 200), max_size=6),
    st.booleans(),
)
def test_whatever_is_held_all_bytes_come_in_their_lanes_order(tmp_path_factory, frames, places, in_order):
    async def work():
        bench = Bench(tmp_path_factory.mktemp("spool"), in_order=in_order)
        bench.rule("hold", "x", at="request", ms=None)
        text = "".join(f"call {number} {lane} {operation}\n" for number, (lane, operation) in enumerate(frames))
        edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
        for start, end in itertools.pairwise(edges):
            await bench.ask(text[start:end])
        held = bench.callee.got.decode().splitlines()
        await bench.lift()
        got = bench.callee.got.decode().splitlines()
        for lane in ["abc"] if in_order else "abc":
            wanted = [line for line in text.splitlines() if line.split()[2] in lane]
            assert [line for line in got if line.split()[2] in lane] == wanted
            first = next((at for at, line in enumerate(wanted) if line.endswith("x")), len(wanted))
            assert [line for line in held if line.split()[2] in lane] == wanted[:first]

    asyncio.run(work())
