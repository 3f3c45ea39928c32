"""Partitions: the nodes of one group and those of another do not reach each other, over all links between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pytest_chaos.errors import FaultError
from pytest_chaos.faults import catalogue, check_fields, is_node
from pytest_chaos.model.fault import Action, Cut

Shape = Literal["groups", "halves", "ring", "rest"]
_LEAST = {"groups": 2, "halves": 2, "ring": 4, "rest": 1}


@catalogue.register("Partition")
@dataclass(frozen=True, slots=True, init=False)
class Partition:
    """Groups of nodes are cut off from each other: ``Partition(["orders"], ["payments", "bus"])``.

    Every link between nodes of two groups is cut; a node in no group, the driver ``"test"`` among them, reaches
    everybody. ``one_way=True``: only what nodes of an earlier group send to those of a later one is lost, requests
    on the links there and answers on the links back. How a link is cut:

    * ``"blackhole"``: bytes vanish, nobody is told; connections stay open, new ones are made and carry nothing.
    * ``"refuse"``: new connections are refused, open ones are reset. One way: on the links that lead there.
    * ``"drop"``: as behind a firewall that drops packets, no handshake completes and bytes vanish. A caller's kernel
      tries again after 1, 3, 7, ... s, so that it may come back that much after the lift (Linux).

    All links are one fault: it has hit when any of them has. Which links those are, the topology says when it is
    installed; a partition that crosses no link is a TopologyError. Raises FaultError on groups that cannot be.
    """

    groups: tuple[tuple[str, ...], ...]
    shape: Shape = field(default="groups", kw_only=True)
    one_way: bool = field(default=False, kw_only=True)
    how: Literal["blackhole", "refuse", "drop"] = field(default="blackhole", kw_only=True)
    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"groups": (("{caller}",), ("{callee}",))},
        {"groups": (("{caller}",), ("{callee}",)), "how": "refuse"},
    )

    def __init__(
        self,
        *between: Iterable[str],
        groups: Iterable[Iterable[str]] = (),
        shape: Shape = "groups",
        one_way: bool = False,
        how: Literal["blackhole", "refuse", "drop"] = "blackhole",
    ) -> None:
        """Take the groups one by one; ``groups`` and ``shape`` are for the other constructors and for replay."""
        found = tuple(self._group(group) for group in (*between, *groups))
        for name, value in (("groups", found), ("shape", shape), ("one_way", one_way), ("how", how)):
            object.__setattr__(self, name, value)
        check_fields(self)
        self._check()

    @classmethod
    def halves(cls, *nodes: str, how: Literal["blackhole", "refuse", "drop"] = "blackhole") -> Partition:
        """Cut these nodes, or all of the topology in its order, in two; of an odd number the later half is larger."""
        return cls(*_named(nodes), shape="halves", how=how)

    @classmethod
    def ring(cls, *nodes: str, how: Literal["blackhole", "refuse", "drop"] = "blackhole") -> Partition:
        """Let each of these nodes (4 or more), or of all in the topology's order, reach only the two beside it."""
        return cls(*_named(nodes), shape="ring", how=how)

    @classmethod
    def one_against_rest(
        cls, node: str, *, one_way: bool = False, how: Literal["blackhole", "refuse", "drop"] = "blackhole"
    ) -> Partition:
        """Cut one node off from all others of the topology; ``one_way``: only what it sends is lost."""
        return cls([node], shape="rest", one_way=one_way, how=how)

    @property
    def target(self) -> str:
        """The groups, as far as they are named here."""
        said = " | ".join(", ".join(group) for group in self.groups)
        return {"groups": said, "rest": f"{said} | rest"}.get(self.shape, said or "all nodes")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one cut, which the topology's links make concrete."""
        return (
            Cut(
                id=f"{fault_id}.1",
                fault=fault_id,
                groups=self.groups,
                shape=self.shape,
                one_way=self.one_way,
                how=self.how,
            ),
        )

    def _group(self, group: Iterable[str]) -> tuple[str, ...]:
        if isinstance(group, str):
            msg = f"Partition: groups={group!r}: each group must be a list of nodes, for example [{group!r}]"
            raise FaultError(msg)
        return tuple(group)

    def _check(self) -> None:
        named = [node for group in self.groups for node in group]
        for node in named:
            is_node(self, node)
        twice = sorted({node for node in named if named.count(node) > 1})
        if twice:
            self._refuse(f"{', '.join(twice)}: a node can be in one group only")
        counted = len(self.groups) if self.shape == "groups" else len(named)
        whole = self.shape in ("halves", "ring") and not named
        if not whole and (counted < _LEAST[self.shape] or not all(self.groups)):
            of = "groups of at least one node" if self.shape == "groups" else "nodes"
            self._refuse(f"must be {_LEAST[self.shape]} or more {of}")
        if self.shape != "groups" and len(self.groups) > 1:
            self._refuse(f"{self.shape} takes one group")
        if self.shape == "ring" and self.one_way:
            self._refuse("a ring has no earlier and later group: one_way is for the other shapes")

    def _refuse(self, why: str) -> None:
        msg = f"Partition: groups={self.groups!r:.80}: {why}"
        raise FaultError(msg)


def _named(nodes: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return (nodes,) if nodes else ()
