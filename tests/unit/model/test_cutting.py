"""Which links a partition cuts, and how: groups, halves, ring, one against the rest, one way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_chaos.errors import TopologyError
from pytest_chaos.faults.partition import Partition
from pytest_chaos.model import cutting
from pytest_chaos.model.fault import Cut, WireRule
from pytest_chaos.model.plan import LinkSpec

NODES = ["a", "b", "c", "d"]
UP, DOWN = "upstream", "downstream"


def links(*names: str) -> list[LinkSpec]:
    ends = ((name, *name.split(" -> ")) for name in names)
    return [LinkSpec(name=name, caller=caller, callee=callee.partition(".")[0]) for name, caller, callee in ends]


ALL = links(*(f"{one} -> {other}" for one in NODES for other in NODES if one != other), "a -> b.grpc", "test -> a")


def cut(partition: Partition, known: list[LinkSpec] = ALL) -> tuple[WireRule, ...]:
    (action,) = partition.actions("f1")
    assert isinstance(action, Cut)
    return cutting.rules(action, NODES, known)


def names(rules: tuple[WireRule, ...]) -> set[str]:
    return {rule.link for rule in rules}


def test_every_link_across_is_cut_both_ways_and_no_other() -> None:
    rules = cut(Partition(["a"], ["b"]))
    assert [(rule.link, rule.params["stream"]) for rule in rules] == [
        ("a -> b", UP), ("a -> b", DOWN), ("b -> a", UP), ("b -> a", DOWN), ("a -> b.grpc", UP), ("a -> b.grpc", DOWN),
    ]  # fmt: skip
    assert len({rule.id for rule in rules}) == len(rules)
    assert {rule.fault for rule in rules} == {"f1"}


def test_one_way_loses_requests_there_and_answers_back() -> None:
    rules = cut(Partition(["a"], ["b"], one_way=True))
    assert [(rule.link, rule.params["stream"]) for rule in rules] == [
        ("a -> b", UP), ("b -> a", DOWN), ("a -> b.grpc", UP),
    ]  # fmt: skip


def test_refusing_one_way_is_about_the_links_that_lead_there() -> None:
    rules = cut(Partition(["a"], ["b"], one_way=True, how="refuse"))
    assert [(rule.kind, rule.link) for rule in rules] == [("refuse", "a -> b"), ("refuse", "a -> b.grpc")]
    with pytest.raises(TopologyError, match=r"b \| a cuts no link, one way"):
        cut(Partition(["b"], ["a"], one_way=True, how="refuse"), links("a -> b"))


def test_dropping_holds_every_handshake_whichever_way_is_lost() -> None:
    rules = cut(Partition(["a"], ["b"], one_way=True, how="drop"), links("a -> b", "b -> a"))
    assert [(rule.kind, rule.link) for rule in rules] == [
        ("hold_connect", "a -> b"), ("bytes.timeout", "a -> b"),
        ("hold_connect", "b -> a"), ("bytes.timeout", "b -> a"),
    ]  # fmt: skip


def test_halves_split_the_topology_in_its_order() -> None:
    assert names(cut(Partition.halves(), links("a -> b", "a -> c", "d -> b", "c -> d", "test -> a"))) == {
        "a -> c", "d -> b",
    }  # fmt: skip
    assert names(cut(Partition.halves("d", "a", "b"), links("d -> a", "a -> b", "c -> d"))) == {"d -> a"}


def test_in_a_ring_each_node_reaches_the_two_beside_it() -> None:
    assert names(cut(Partition.ring())) == {"a -> c", "c -> a", "b -> d", "d -> b"}
    (action,) = Partition.ring().actions("f1")
    assert isinstance(action, Cut)
    with pytest.raises(TopologyError, match="a ring needs 4 nodes"):
        cutting.rules(action, ["a", "b", "c"], ALL)


def test_one_against_the_rest_leaves_the_driver_alone() -> None:
    assert names(cut(Partition.one_against_rest("a"))) == {
        "a -> b", "a -> c", "a -> d", "b -> a", "c -> a", "d -> a", "a -> b.grpc",
    }  # fmt: skip


def test_the_driver_is_cut_off_when_it_is_named() -> None:
    assert names(cut(Partition(["test"], ["a"]))) == {"test -> a"}


def test_a_partition_that_cuts_no_link_is_refused_by_its_groups() -> None:
    with pytest.raises(TopologyError, match=r"the partition a, b \| d cuts no link"):
        cut(Partition(["a", "b"], ["d"]), links("a -> b", "c -> d"))


def test_a_node_that_is_not_there_is_named() -> None:
    with pytest.raises(TopologyError, match="names x; the topology has: a, b, c, d"):
        cut(Partition(["a"], ["x"]))


@given(st.permutations(NODES), st.integers(1, 3), st.sampled_from(["blackhole", "refuse", "drop"]))
def test_both_ways_at_once_cut_what_the_two_ways_cut_by_themselves(order: list[str], at: int, how: str) -> None:
    def kinds(one: list[str], other: list[str], *, one_way: bool) -> set[tuple[str, str, object]]:
        rules = cut(Partition(one, other, one_way=one_way, how=how))  # type: ignore[arg-type]
        return {(rule.link, rule.kind, rule.params.get("stream")) for rule in rules}

    there, back = order[:at], order[at:]
    one_by_one = kinds(there, back, one_way=True) | kinds(back, there, one_way=True)
    assert kinds(there, back, one_way=False) == one_by_one
    crossing = {link.name for link in ALL if link.caller != "test" and (link.caller in there) != (link.callee in there)}
    assert {link for link, _, _ in one_by_one} == crossing
