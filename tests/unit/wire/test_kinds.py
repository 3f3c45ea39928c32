"""A rule that cannot be carried out is refused with its field, value and range; a good one is placed where it acts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_chaos.errors import FaultError
from pytest_chaos.model.fault import WireRule
from pytest_chaos.wire.kinds import KINDS, check, phase_of
from pytest_chaos.wire.toxics.kinds import BOUNDS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
GOOD = {
    "refuse": {}, "accept_close": {}, "slow_connect": {"ms": 5}, "reset": {"at": "response"}, "status": {"code": 503},
    "grpc_status": {"code": 14}, "hold": {"ms": None}, "latency": {"ms": 1}, "drip": {"bytes": 1, "interval_ms": 1},
    "answer_lost": {"how": "hang"}, "truncate": {"bytes": 0}, "point": {"phase": "before_send", "node_action": "f1.2"},
    "grpc_abort": {"code": 14, "messages": 0, "at": "request"}, "header": {"name": "x-a", "value": None},
    "wrong_length": {"by": -1}, "stall": {"bytes": 0, "ms": None}, "deliver_twice": {"ms": 0}, "deliver_late": {},
    "bytes.latency": {"distribution": "percentiles", "percentiles": {"50": 20, "99": 2000}},
    "bytes.bandwidth": {"rate": 1}, "bytes.slow_close": {"delay": 1},
    "bytes.timeout": {"timeout": 0, "stream": "upstream"}, "bytes.reset_peer": {"timeout": 0},
    "bytes.slicer": {"average_size": 2, "size_variation": 1},
    "bytes.limit_data": {"bytes": 1}, "bytes.corrupt": {"one_in": 9}, "bytes.close_after": {"ms": 1},
    "bytes.half_open": {"then": "reset"}, "hold_connect": {"ms": 1}, "reset_connections": {"which": "open"},
    "close_after_requests": {"requests": 1},
}  # fmt: skip


def rule(kind, params):
    return WireRule(id="r", fault="f", link="a -> b", kind=kind, params=params)


def test_every_kind_has_a_good_example_here():
    assert set(GOOD) == set(KINDS)
    for kind, params in GOOD.items():
        check(rule(kind, params), links=["a -> b"])


@given(st.sampled_from(sorted(KINDS)), st.dictionaries(st.sampled_from(["ms", "code", "at", "how", "x"]), JSON))
def test_whatever_stands_in_the_params_is_either_placed_or_refused_by_name(kind, params):
    wanted, said = rule(kind, params), ""
    try:
        check(wanted, links=["a -> b"])
    except FaultError as wrong:
        said = str(wrong)
    if said:
        known = (*params, *KINDS[kind].params, *BOUNDS.get(kind.removeprefix("bytes."), ()))
        assert any(name in said for name in known)
    else:
        assert phase_of(wanted) in {"listener", "connection", "request", "response", "bytes", "standing"}


@pytest.mark.parametrize(
    ("kind", "params", "phase"),
    [
        ("status", {"code": 500}, "request"),
        ("status", {"code": 500, "forward": True}, "response"),
        ("hold", {}, "response"),
        ("hold", {"at": "request"}, "request"),
        ("reset", {}, "request"),
        ("reset", {"at": "response"}, "response"),
        ("point", {"phase": "after_answer"}, "response"),
        ("point", {"phase": "before_send"}, "request"),
        ("grpc_status", {"code": 14, "forward": True}, "response"),
        ("grpc_abort", {"code": 14, "messages": 1}, "response"),
        ("grpc_abort", {"code": 14, "messages": 1, "at": "request"}, "request"),
        ("header", {"name": "x-a"}, "request"),
        ("header", {"name": "x-a", "at": "response"}, "response"),
    ],
)
def test_where_a_rule_acts_follows_from_its_params(kind, params, phase):
    assert phase_of(rule(kind, params)) == phase
