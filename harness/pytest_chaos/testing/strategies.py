"""Hypothesis strategies for faults and schedules, derived from the catalogue: a new fault is covered at once.

Needs the extra ``[hypothesis]``. Values come from the ranges in the fields' types (``Between``, ``Literal``); where a
field says less than its fault demands, what the fault refuses is drawn again.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import reject
from hypothesis import strategies as st

from pytest_chaos.errors import FaultError, TopologyError
from pytest_chaos.faults import Between, alternatives, catalogue, hints
from pytest_chaos.model import cutting
from pytest_chaos.model.fault import (
    BrokerAction,
    ByteFault,
    Cut,
    Fault,
    Installed,
    NodeAction,
    Schedule,
    When,
    Whom,
    WireRule,
)
from pytest_chaos.model.plan import LinkSpec

LINKS = ("orders -> payments", "test -> orders", "orders -> inventory.grpc")
NODES = ("orders", "payments", "inventory")

_OPERATIONS = st.sampled_from(["", "POST /payments", "GET /orders/*", "/shop.Payments/Charge", "**"])
_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
_TOKEN = st.text("abcxyz0-_", min_size=1, max_size=8)
_COUNTS = st.integers(1, 40)


def whoms() -> st.SearchStrategy[Whom]:
    """Give whose requests are meant: everybody's, or those of one trace, correlation, baggage or test."""
    trace_ids = st.text("0123456789abcdef", min_size=32, max_size=32).filter(lambda text: text != "0" * 32)
    named = st.builds(
        Whom,
        trace_id=st.just("") | trace_ids,
        correlation_id=_TEXT,
        correlation_prefix=_TEXT,
        baggage=st.dictionaries(_TOKEN, _TEXT, max_size=2),
        test=st.just("") | st.text("0123456789abcdef", min_size=12, max_size=12),
    )
    return st.just(Whom()) | named


@st.composite
def whens(draw: st.DrawFn) -> When:
    """Give which requests are hit: counts, probability, window."""
    counts: dict[str, Any] = draw(
        st.just({})
        | st.fixed_dictionaries({"first": _COUNTS})
        | st.fixed_dictionaries({"every": _COUNTS})
        | st.fixed_dictionaries({"nth": st.lists(_COUNTS, min_size=1, max_size=4).map(tuple)})
    )
    per: Literal["link", "op"] = draw(st.sampled_from(("link", "op")))
    after_s = draw(st.none() | st.floats(0, 1000))
    until_s = draw(st.none() | st.floats(0.001, 1000).map(lambda more: (after_s or 0) + more))
    probability = draw(st.none() | st.floats(0, 1, exclude_min=True))
    return When(**counts, per=per, probability=probability, after_s=after_s, until_s=until_s)


def faults(*names: str, links: Sequence[str] = LINKS, nodes: Sequence[str] = NODES) -> st.SearchStrategy[Fault]:
    """Give faults of the catalogue, of every kind or of those named, on these links and nodes."""
    kinds = [(name, kind) for name, kind in catalogue if not names or name in names]
    return st.sampled_from(kinds).flatmap(lambda found: _fault(found[1], tuple(links), tuple(nodes)))


@st.composite
def _fault(draw: st.DrawFn, kind: type[Fault], links: tuple[str, ...], nodes: tuple[str, ...]) -> Fault:
    given: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed or draw(st.booleans()):
            given[field.name] = draw(_value(kind, field.name, links, nodes))
    if len({"nth", "first", "every"} & set(given)) > 1:  # each says which requests are hit
        kept = draw(st.sampled_from(("nth", "first", "every")))
        given = {name: value for name, value in given.items() if name == kept or name not in {"nth", "first", "every"}}
    required = {name: value for name, value in given.items() if _required(kind, name)}
    for values in (given, required):
        with contextlib.suppress(FaultError, TopologyError):
            fault = kind(**values)
            installed(fault, "f1", links=links, nodes=nodes)
            return fault
    return reject()


def _required(kind: type[Fault], name: str) -> bool:
    field = next(one for one in dataclasses.fields(kind) if one.name == name)  # type: ignore[arg-type]
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(kind: type[Fault], name: str, links: tuple[str, ...], nodes: tuple[str, ...]) -> st.SearchStrategy[Any]:
    known: dict[str, st.SearchStrategy[Any]] = {
        "link": st.sampled_from(links),
        "node": st.sampled_from(nodes),
        "broker": st.sampled_from(nodes),
        "operation": _OPERATIONS,
        "headers": st.dictionaries(_TOKEN, _TEXT, max_size=2),
        "groups": _splits(nodes),
    }
    if name in known:
        return known[name]
    shapes = alternatives(hints(kind)[name])
    # A text beside a number is in some form ("p50 20 ms"): the fault's examples have it, drawn letters hardly ever.
    given = [one[name] for one in getattr(kind, "examples", ()) if isinstance(one.get(name), str)]
    formed = given if len(shapes) > 1 else []
    return st.one_of(*(st.sampled_from(formed) if formed and shape is str else _shape(shape) for shape in shapes))


def _splits(nodes: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Give some nodes in one group or two."""
    ordered = st.permutations(nodes)
    return st.tuples(ordered, st.integers(1, len(nodes))).map(
        lambda drawn: tuple(tuple(group) for group in (drawn[0][: drawn[1]], drawn[0][drawn[1] :]) if group)
    )


def _shape(shape: Any) -> st.SearchStrategy[Any]:
    origin, parts = get_origin(shape), get_args(shape)
    if origin is Annotated:
        limits = next((part for part in parts[1:] if isinstance(part, Between)), None)
        return _shape(parts[0]) if limits is None else _numbers(limits, whole=parts[0] is int)
    if origin is Literal:
        return st.sampled_from(parts)
    if origin is tuple:
        return st.lists(_shape(parts[0]), min_size=1, max_size=4).map(tuple)
    if origin is dict:
        return st.dictionaries(_TOKEN, _TEXT, max_size=2)
    if origin is Union:
        return st.one_of(*map(_shape, parts))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        int: st.integers(1, 16) | st.integers(1, 5000),
        float: st.floats(0.001, 1000),
        bool: st.booleans(),
        str: _TOKEN | _TEXT | st.just("UNAVAILABLE"),
        type(None): st.none(),
        Whom: whoms(),
        Any: st.none() | _TEXT | st.dictionaries(_TOKEN, st.integers(), max_size=2),
    }
    return plain[shape] if shape in plain else st.from_type(shape)


def _numbers(limits: Between, *, whole: bool) -> st.SearchStrategy[Any]:
    if whole:
        return st.integers(int(limits.low), int(limits.high))
    return st.floats(limits.low, limits.high)


@st.composite
def schedules(draw: st.DrawFn, *, links: Sequence[str] = LINKS, nodes: Sequence[str] = NODES) -> Schedule:
    """Give schedules of up to four faults, compiled as they are installed."""
    drawn = draw(st.lists(faults(links=links, nodes=nodes), max_size=4))
    compiled = (installed(fault, f"f{n}", links=links, nodes=nodes) for n, fault in enumerate(drawn, 1))
    return Schedule(id="s1", owner="t", faults=tuple(compiled))


def installed(fault: Fault, fault_id: str, *, links: Sequence[str] = LINKS, nodes: Sequence[str] = NODES) -> Installed:
    """Compile one fault as a schedule holds it, on these links and nodes; raise TopologyError as the engine does."""
    actions = fault.actions(fault_id)
    across = [rule for one in actions if isinstance(one, Cut) for rule in cutting.rules(one, nodes, _specs(links))]
    return Installed(
        id=fault_id,
        kind=type(fault).__name__,
        target=fault.target,
        links=tuple(dict.fromkeys(rule.link for rule in across)),
        rules=(*(action for action in actions if isinstance(action, WireRule)), *across),
        toxics=tuple(action for action in actions if isinstance(action, ByteFault)),
        nodes=tuple(action for action in actions if isinstance(action, NodeAction)),
        brokers=tuple(action for action in actions if isinstance(action, BrokerAction)),
    )


def _specs(links: Sequence[str]) -> list[LinkSpec]:
    ends = ((link, *link.split(" -> ")) for link in links)
    return [LinkSpec(name=link, caller=caller, callee=callee.partition(".")[0]) for link, caller, callee in ends]
