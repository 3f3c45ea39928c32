"""Whatever is said, whichever toxics come and go: what only slows loses, doubles and reorders nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_chaos.wire.table import draw
from pytest_chaos.wire.toxics.chain import Chain
from pytest_chaos.wire.toxics.stages import STAGES

MS = 1_000_000
SLOWING = st.one_of(
    st.tuples(st.just("latency"), st.fixed_dictionaries({"latency": st.integers(0, 50), "jitter": st.integers(0, 50)})),
    st.tuples(st.just("bandwidth"), st.fixed_dictionaries({"rate": st.integers(1, 100)})),
    st.tuples(
        st.just("slicer"),
        st.fixed_dictionaries({"average_size": st.integers(3, 20), "size_variation": st.integers(0, 2)}),
    ),
    st.tuples(st.just("slow_close"), st.fixed_dictionaries({"delay": st.integers(0, 50)})),
    st.tuples(st.just("reset_peer"), st.just({"timeout": 4000})),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.binary(min_size=1, max_size=200)),
        st.tuples(st.just("wait"), st.integers(1, 40)),
        st.tuples(st.just("install"), SLOWING),
        st.tuples(st.just("lift"), st.integers(0, 5)),
    ),
    max_size=30,
)


@settings(max_examples=400)
@given(STEPS)
def test_what_only_slows_loses_nothing(steps):
    chain, now, said, out = Chain(), 0, b"", []
    for what, value in steps:
        if what == "say":
            said += value
            out += chain.push(now, "data", value)
        elif what == "install":
            name, params = value
            stage = STAGES[name](params, began_ns=now, draw=lambda n: draw(f"{n}"), touch=lambda *_: None)
            out += chain.replace([*chain.stages, stage], now)
        elif what == "lift" and chain.stages:
            gone = chain.stages[value % len(chain.stages)]
            out += chain.replace([one for one in chain.stages if one is not gone], now)
        elif what == "wait":
            now += value * MS
            while (due := chain.due_ns()) is not None and due <= now:
                out += chain.advance(due)
    out += chain.push(now, "eof")
    while chain.stages:
        out += chain.replace(chain.stages[1:], now)
    if any(what == "reset" for _, what, _ in out):  # its time was over: what came before is whole
        assert said.startswith(b"".join(data for _, what, data in out if what == "data"))
        return
    assert b"".join(data for _, what, data in out if what == "data") == said
    assert [what for _, what, _ in out].count("eof") == 1
    assert out[-1][1] == "eof"
    assert chain.idle


@given(STEPS, st.integers(1, 300), st.integers(0, 2**32))
def test_corruption_depends_on_the_seed_and_the_place_alone_not_on_the_chunks(steps, one_in, seed):
    said = b"".join(value for what, value in steps if what == "say")

    def through(chunks):
        chain = Chain()
        params = {"one_in": one_in}
        stage = STAGES["corrupt"](params, began_ns=0, draw=lambda n: draw(f"{seed}|{n}"), touch=lambda *_: None)
        chain.replace([stage], 0)
        return b"".join(data for chunk in chunks for _, _, data in chain.push(0, "data", chunk))

    assert through([said]) == through([value for what, value in steps if what == "say"])
    assert len(through([said])) == len(said)
