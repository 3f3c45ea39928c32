"""What each byte fault makes of the chunks of a direction, when, and what its lifting gives back."""

from __future__ import annotations

import statistics

import pytest

from pytest_chaos.injectors.toxiproxy import client
from pytest_chaos.wire.table import draw
from pytest_chaos.wire.toxics.chain import Chain
from pytest_chaos.wire.toxics.delays import at_percentile, delay_ms
from pytest_chaos.wire.toxics.kinds import BOUNDS, wrong
from pytest_chaos.wire.toxics.stages import STAGES

MS = 1_000_000


class Direction:
    """A chain of toxics, and what came out of it as ``(ms, what, data)``."""

    def __init__(self, *toxics, seed=1):
        self.chain, self.out, self.touched = Chain(), [], []
        self.seed = seed
        self.stages = [self.stage(*toxic) for toxic in toxics]
        self.chain.replace(list(self.stages), 0)

    def stage(self, name, params, at=0):
        return STAGES[name](
            params,
            began_ns=at * MS,
            draw=lambda n: draw(f"{self.seed}|{n}"),
            touch=lambda at_ns, size: self.touched.append((at_ns / MS, size)),
        )

    def push(self, at, what, data=b""):
        self.until(at)
        self._came(self.chain.push(at * MS, what, data))
        return self

    def lift(self, at, number=0):
        self.until(at)
        left = [one for one in self.chain.stages if one is not self.stages[number]]
        self._came(self.chain.replace(left, at * MS), at)
        return self

    def until(self, at):
        while (due := self.chain.due_ns()) is not None and due <= at * MS:
            self._came(self.chain.advance(due))
        return self

    def _came(self, items, at=None):
        self.out += [(at_ns / MS if at is None else at, what, data) for at_ns, what, data in items]

    @property
    def data(self):
        return b"".join(data for _, what, data in self.out if what == "data")


def test_there_is_a_stage_for_each_kind_and_toxiproxys_ranges_are_kept():
    assert set(STAGES) == set(BOUNDS)
    for toxic, bounds in client._BOUNDS.items():
        mine = dict(BOUNDS[toxic])
        if toxic == "bandwidth":  # there, 0 stalls the link for ever; Blackhole says so by its name
            mine["rate"] = (0, mine["rate"][1])
        assert mine == bounds


def test_a_latency_delays_each_chunk_and_keeps_the_order():
    one = Direction(("latency", {"latency": 100}))
    one.push(0, "data", b"a").push(30, "data", b"b").push(40, "eof").until(1000)
    assert one.out == [(100, "data", b"a"), (130, "data", b"b"), (130, "eof", b"")]
    assert one.touched == [(0, 1), (30, 1)]


def test_jitter_varies_within_its_range_never_reorders_and_is_the_same_for_a_seed():
    def times(seed):
        one = Direction(("latency", {"latency": 50, "jitter": 50}), seed=seed)
        for number in range(200):
            one.push(number * 200, "data", b"%d," % number)
        one.until(10**6)
        assert one.data == b"".join(b"%d," % number for number in range(200))
        return [at - number * 200 for number, (at, _, _) in enumerate(one.out)]

    assert times(1) == times(1) != times(2)
    assert 0 <= min(times(1)) < 20
    assert 80 < max(times(1)) <= 100


def test_a_normal_distribution_has_its_mean_and_spread_and_is_never_negative():
    params = {"latency": 50, "jitter": 10, "distribution": "normal"}
    drawn = [delay_ms(params, lambda n=n: draw(str(n))) for n in range(2000)]
    assert statistics.mean(drawn) == pytest.approx(50, abs=1)
    assert statistics.stdev(drawn) == pytest.approx(10, abs=1)
    assert delay_ms({"latency": 1, "jitter": 100, "distribution": "normal"}, lambda: 0.0) == 0


def test_percentiles_are_met_and_the_highest_is_never_passed():
    params = {"distribution": "percentiles", "percentiles": {"50": 20, "99": 2000}}
    drawn = sorted(delay_ms(params, lambda n=n: n / 1000) for n in range(1000))
    assert drawn[500] == pytest.approx(20, abs=5)
    assert drawn[990] == pytest.approx(2000, abs=5)
    assert max(drawn) == 2000
    assert at_percentile({"50": 20}, 25) == 10


def test_a_bandwidth_lets_so_many_bytes_pass_in_a_second_and_makes_the_sender_wait():
    one = Direction(("bandwidth", {"rate": 10}))
    one.push(0, "data", b"x" * 100_000)
    assert one.chain.full
    one.until(5000)
    assert 49_000 <= len(one.data) <= 50_000
    one.push(5000, "eof").until(10_000)
    assert one.out[-1] == (10_000, "eof", b"")
    assert len(one.data) == 100_000
    assert not one.chain.full


def test_a_slow_close_delays_the_end_alone():
    one = Direction(("slow_close", {"delay": 70}))
    one.push(0, "data", b"a").push(10, "eof").until(100)
    assert one.out == [(0, "data", b"a"), (80, "eof", b"")]
    assert one.touched == [(10, 0)]


def test_a_slow_close_delays_a_reset_too():
    one = Direction(("slow_close", {"delay": 70}))
    one.push(0, "data", b"a").push(10, "rst").until(100)
    assert one.out == [(0, "data", b"a"), (80, "rst", b"")]
    assert one.touched == [(10, 0)]


def test_a_timeout_drops_and_closes_once_no_matter_how_much_is_said():
    one = Direction(("timeout", {"timeout": 100}))
    for at in range(0, 200, 30):
        one.push(at, "data", b"x")
    assert one.out == [(100, "close", b"")]


def test_a_blackhole_swallows_ends_too_and_its_lifting_closes_what_has_a_hole():
    one = Direction(("timeout", {"timeout": 0}))
    one.push(0, "data", b"x").push(1, "eof").push(2, "rst").until(10**6)
    assert one.out == []
    assert one.lift(10**6).out == [(10**6, "close", b"")]
    untouched = Direction(("timeout", {"timeout": 0}))
    assert untouched.lift(5).push(6, "data", b"x").out == [(6, "data", b"x")]


def test_the_end_of_an_idle_connection_is_no_hit_of_a_blackhole():
    one = Direction(("timeout", {"timeout": 0}))
    one.push(0, "eof").push(1, "rst")
    assert not one.touched
    assert one.lift(2).out == [(2, "close", b"")], "it was swallowed, so its connection cannot go on"
    assert Direction(("timeout", {"timeout": 0})).push(0, "data", b"x").push(1, "eof").touched == [(0, 1)]


def test_a_reset_comes_after_the_first_data_and_its_lifting_gives_the_data_back():
    one = Direction(("reset_peer", {"timeout": 50}))
    one.push(5, "data", b"a").push(10, "data", b"b").until(100)
    assert one.out == [(55, "reset", b"")]
    assert one.touched == [(55, 2)]
    assert one.push(101, "data", b"c").out == [(55, "reset", b"")], "nothing comes behind a reset"
    lifted = Direction(("reset_peer", {"timeout": 50}))
    lifted.push(5, "data", b"a").push(6, "eof").lift(20)
    assert lifted.out == [(20, "data", b"a"), (20, "eof", b"")]
    assert not lifted.touched


def test_a_slicer_cuts_into_sizes_within_its_range_with_gaps():
    one = Direction(("slicer", {"average_size": 10, "size_variation": 3, "delay": 2000}))
    one.push(0, "data", bytes(range(200))).until(10**4)
    sizes = [len(data) for _, _, data in one.out]
    assert one.data == bytes(range(200))
    assert min(sizes[:-1]) == 7
    assert max(sizes) == 13
    gaps = [later - sooner for (sooner, *_), (later, *_) in zip(one.out, one.out[1:], strict=False)]
    assert set(gaps) == {2}
    assert one.out[0][0] == 0
    assert one.push(10**4, "data", b"x").out[-1] == (10**4, "data", b"x")


def test_limit_data_passes_so_many_bytes_and_closes():
    one = Direction(("limit_data", {"bytes": 5}))
    one.push(0, "data", b"abc")
    assert not one.touched
    one.push(1, "data", b"defg").push(2, "data", b"h")
    assert one.out == [(0, "data", b"abc"), (1, "data", b"de"), (1, "close", b"")]
    assert one.touched == [(1, 2)]


def test_corruption_changes_just_the_byte_that_it_names():
    one = Direction(("corrupt", {"at": 4}))
    one.push(0, "data", b"aaa").push(1, "data", b"aaa").push(2, "data", b"aaa")
    assert one.touched == [(1, 1)]
    assert one.data[:3] + one.data[4:] == b"a" * 8
    assert one.data[3:4] != b"a"


def test_corruption_at_a_rate_hits_about_so_many_bytes_and_the_same_for_a_seed():
    def changed(seed):
        one = Direction(("corrupt", {"one_in": 100}), seed=seed)
        for at in range(100):
            one.push(at, "data", bytes(1000))
        assert len(one.data) == 100_000
        return [place for place, byte in enumerate(one.data) if byte]

    assert changed(1) == changed(1) != changed(2)
    assert 850 < len(changed(1)) < 1150
    every = Direction(("corrupt", {"one_in": 1})).push(0, "data", bytes(100))
    assert 0 not in every.data


def test_close_after_closes_whatever_goes_on():
    one = Direction(("close_after", {"ms": 40}))
    one.push(10, "data", b"a").push(39, "data", b"b").push(60, "data", b"c")
    assert one.out == [(10, "data", b"a"), (39, "data", b"b"), (40, "close", b"")]


def test_toxics_act_one_behind_the_other_and_lifting_one_leaves_the_others():
    one = Direction(("latency", {"latency": 100}), ("limit_data", {"bytes": 2}))
    one.push(0, "data", b"a").push(10, "data", b"b")
    assert one.lift(50).out == [(50, "data", b"a"), (50, "data", b"b"), (50, "close", b"")]
    both = Direction(("limit_data", {"bytes": 2}), ("latency", {"latency": 100}))
    both.push(0, "data", b"abc").until(500)
    assert both.out == [(100, "data", b"ab"), (100, "close", b"")]


@pytest.mark.parametrize(
    ("toxic", "params", "names"),
    [
        ("latency", {}, "latency"),
        ("latency", {"latency": -1}, "latency"),
        ("latency", {"latency": True}, "latency"),
        ("latency", {"latencyy": 5}, "latencyy"),
        ("latency", {"latency": 5, "distribution": "pareto"}, "distribution"),
        ("latency", {"latency": 5, "percentiles": {"50": 5}}, "percentiles"),
        ("latency", {"distribution": "percentiles"}, "percentiles"),
        ("latency", {"distribution": "percentiles", "percentiles": {"50": 5, "99": 4}}, "percentiles"),
        ("latency", {"distribution": "percentiles", "percentiles": {"0": 5}}, "percentiles"),
        ("latency", {"distribution": "percentiles", "percentiles": {"p50": 5}}, "percentiles"),
        ("bandwidth", {"rate": 0}, "rate"),
        ("slicer", {"average_size": 4, "size_variation": 4}, "size_variation"),
        ("reset_peer", {"timeout": 4001}, "timeout"),
        ("corrupt", {}, "at"),
        ("corrupt", {"at": 1, "one_in": 1}, "at"),
        ("timeout", {"timeout": 0, "stream": "sideways"}, "stream"),
    ],
)
def test_what_cannot_be_is_named(toxic, params, names):
    found = wrong(toxic, params)
    assert found is not None
    assert found[0] == names
