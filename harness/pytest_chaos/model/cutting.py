"""Which links a partition cuts and how: a cut and the links of a topology to rules for wire. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from pytest_chaos.errors import TopologyError
from pytest_chaos.model.fault import Cut, WireRule
from pytest_chaos.model.plan import LinkSpec

DRIVER = "test"
Groups = tuple[tuple[str, ...], ...]
_DAY_MS = 86_400_000
_LEAST_RING = 4


def groups(cut: Cut, nodes: Sequence[str]) -> Groups:
    """Give a cut's groups among these nodes (the topology's, in its order, without the driver).

    Raises TopologyError naming a node that is not there, or a topology that is too small for the shape.
    """
    named = [node for group in cut.groups for node in group]
    unknown = sorted(set(named) - {*nodes, DRIVER})
    if unknown:
        msg = f"the partition names {', '.join(unknown)}; the topology has: {', '.join(sorted(nodes))}"
        raise TopologyError(msg)
    if cut.shape == "groups":
        return cut.groups
    if cut.shape == "rest":
        return cut.groups[0], tuple(node for node in nodes if node not in cut.groups[0])
    chosen = tuple(named or nodes)
    if cut.shape == "ring":
        if len(chosen) < _LEAST_RING:
            msg = f"a ring needs {_LEAST_RING} nodes or more; there are: {', '.join(chosen) or 'none'}"
            raise TopologyError(msg)
        return tuple((node,) for node in chosen)
    half = len(chosen) // 2
    return chosen[:half], chosen[half:]


def rules(cut: Cut, nodes: Sequence[str], links: Iterable[LinkSpec]) -> tuple[WireRule, ...]:
    """Give the rules that cut every link across, in the order of the links.

    Raises TopologyError naming the groups when there is no such link.
    """
    found = groups(cut, nodes)
    lost = _lost(cut, found)
    made: list[WireRule] = []
    for link in links:
        there, back = (link.caller, link.callee) in lost, (link.callee, link.caller) in lost
        for kind, params in _ways(cut.how, there=there, back=back):
            made.append(
                WireRule(
                    id=f"{cut.id}.{len(made) + 1}", fault=cut.fault, link=link.name, kind=kind, params=dict(params)
                )
            )
    if not made:
        said = " | ".join(", ".join(group) or "nobody" for group in found)
        way = ", one way by refusing what leads from the first to the second" if cut.one_way else ""
        msg = f"the partition {said} cuts no link{way}: no node of one group calls one of another"
        raise TopologyError(msg)
    return tuple(made)


def _lost(cut: Cut, found: Groups) -> set[tuple[str, str]]:
    """Give every pair (sender, receiver) whose bytes are lost."""
    apart = [(one, other) for one, other in combinations(range(len(found)), 2)]
    if cut.shape == "ring":
        last = len(found) - 1
        apart = [(one, other) for one, other in apart if other - one not in (1, last)]
    pairs = {(sender, receiver) for one, other in apart for sender in found[one] for receiver in found[other]}
    return pairs if cut.one_way else pairs | {(receiver, sender) for sender, receiver in pairs}


def _ways(how: str, *, there: bool, back: bool) -> Iterator[tuple[str, dict[str, object]]]:
    """Give the rules for one link; ``there``: what its caller sends is lost, ``back``: what its callee sends."""
    if not (there or back):
        return
    if how == "refuse":
        if there:
            yield "refuse", {}
        return
    if how == "drop":  # a handshake needs both ways
        yield "hold_connect", {"ms": _DAY_MS}
    if there:
        yield "bytes.timeout", {"timeout": 0, "stream": "upstream"}
    if back:
        yield "bytes.timeout", {"timeout": 0, "stream": "downstream"}
