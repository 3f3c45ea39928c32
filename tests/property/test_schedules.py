"""Every fault of the catalogue is a value that travels: to JSON and back, into wire's checks, and it replays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_chaos.faults import catalogue
from pytest_chaos.model.codec import from_json, to_json
from pytest_chaos.model.fault import Schedule, When, Whom, WireRule
from pytest_chaos.testing.strategies import LINKS, faults, installed, schedules, whens, whoms
from pytest_chaos.wire import kinds
from pytest_chaos.wire.table import Facts, Table

CARRIED = st.fixed_dictionaries(
    {}, optional={"x-correlation-id": st.sampled_from(["a-1", "a-2", "b"]), "x-tenant": st.just("t")}
)
FACTS = st.builds(
    Facts,
    operation=st.sampled_from(["POST /payments", "GET /orders/1", "/shop.Payments/Charge"]),
    headers=CARRIED,
    protocol=st.sampled_from(["http/1.1", "h2", "grpc", "tcp"]),
    op_key=st.sampled_from(["", "a", "b", "c"]),
)


def there_and_back(schedule):
    return from_json(Schedule, json.loads(json.dumps(to_json(schedule))))


@settings(max_examples=300)
@given(schedules())
def test_a_schedule_survives_json(schedule):
    assert there_and_back(schedule) == schedule


@pytest.mark.parametrize("name", catalogue.names())
@settings(max_examples=25)
@given(data=st.data())
def test_every_fault_compiles_to_what_wire_takes(name, data):
    fault = data.draw(faults(name))
    again = there_and_back(Schedule(id="s", owner="t", faults=(installed(fault, "f1"),)))
    (one,) = again.faults
    assert one.kind == name
    assert one.rules or one.toxics or one.nodes or one.brokers
    for rule in one.rules:
        kinds.check(rule, links=LINKS)


@settings(max_examples=200)
@given(schedules(), st.integers(0, 2**63), st.lists(FACTS, max_size=30))
def test_a_schedule_replays(schedule, seed, asked):
    """Read back from JSON, the same requests get the same decisions."""

    def decided(one):
        log = []
        table = Table(seed, log=lambda one: log.append((one.active.rule.id, *one[1:])))
        table.install(one.id, one.owner, [rule for fault in one.faults for rule in fault.rules])
        for facts in asked:
            for link in LINKS:
                table.decide(link, facts)
        return log

    assert decided(there_and_back(schedule)) == decided(schedule)


@given(whens(), whoms())
def test_when_and_whom_survive_json(when, whom):
    rule = WireRule(id="r", fault="f", link=LINKS[0], kind="status", when=when, whom=whom, params={"code": 503})
    again = from_json(WireRule, json.loads(json.dumps(to_json(rule))))
    assert (again.when, again.whom) == (when, whom)
    assert isinstance(again.whom, Whom)
    assert isinstance(again.when, When)


@settings(max_examples=100)
@given(
    whens().filter(lambda when: when.per == "op" or when == When(probability=when.probability)),
    st.integers(0, 1000),
    st.lists(st.sampled_from("abcd"), max_size=40),
    st.randoms(use_true_random=False),
)
def test_what_is_decided_for_an_operation_does_not_depend_on_the_others(when, seed, ops, chance):
    def hits(order):
        table = Table(seed)
        table.install("s", "t", [WireRule(id="r", fault="f", link=LINKS[0], kind="reset", when=when)])
        found = {}
        for op in order:
            found.setdefault(op, []).append(bool(table.decide(LINKS[0], Facts(op_key=op)).request))
        return found

    shuffled = list(ops)
    chance.shuffle(shuffled)
    assert hits(shuffled) == hits(ops)
