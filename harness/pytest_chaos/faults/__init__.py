"""The catalogue of faults: values that say what is wrong, where, when, for whom; one file a family.

``catalogue`` finds every fault by its class name. A family file holds frozen dataclasses with ``target`` and
``actions(fault_id)``; nothing here carries anything out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from pytest_chaos.errors import FaultError
from pytest_chaos.model.fault import Action, Fault, When, WireRule
from pytest_chaos.registry import Registry

catalogue: Registry[type[Fault]] = Registry("pytest_chaos.faults")

_LINK = re.compile(r"\S+ -> \S+\Z")


def bounded(fault: object, name: str, value: object, low: float, high: float, *, unit: str = "") -> None:
    """Raise FaultError naming fault, field, value and range unless ``low <= value <= high``; None means "not given"."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        kind = type(fault).__name__
        ends = [int(end) if end == int(end) else end for end in (low, high)]
        msg = f"{kind}: {name}={value!r}: must be a number from {ends[0]} to {ends[1]}{' ' + unit if unit else ''}"
        raise FaultError(msg)


def one_of(fault: object, name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise FaultError naming fault, field, value and choices unless the value is one of them."""
    if value not in choices:
        msg = f"{type(fault).__name__}: {name}={value!r}: must be one of {', '.join(map(repr, choices))}"
        raise FaultError(msg)


def is_link(fault: object, value: object) -> None:
    """Raise FaultError unless the value reads like a link's name."""
    if not isinstance(value, str) or not _LINK.match(value):
        msg = f"{type(fault).__name__}: link={value!r}: must read 'caller -> callee', for example 'orders -> payments'"
        raise FaultError(msg)


def is_node(fault: object, value: object) -> None:
    """Raise FaultError unless the value reads like a node's name."""
    if not isinstance(value, str) or not value or "->" in value or any(letter.isspace() for letter in value):
        msg = (
            f"{type(fault).__name__}: node={value!r}: must be the name of a node of the topology, for example 'orders'"
        )
        raise FaultError(msg)


def when(fault: object, nth: int | tuple[int, ...], first: int | None, every: int | None) -> When:
    """Make the ``When`` of the common fields; raise FaultError when more than one is given or one is below 1."""
    exact = nth if isinstance(nth, tuple) else (nth,)
    given = [name for name, value in (("nth", exact or None), ("first", first), ("every", every)) if value is not None]
    if len(given) > 1:
        msg = f"{type(fault).__name__}: {' and '.join(given)}: give one of them; each says which requests are hit"
        raise FaultError(msg)
    for number in (*exact, *(value for value in (first, every) if value is not None)):
        bounded(fault, given[0], number, 1, 1_000_000)
    return When(nth=exact, first=first, every=every)


@dataclass(frozen=True, slots=True)
class OnRequests:
    """What every fault on requests shares: the link, and which of its requests are hit.

    ``operation`` is ``METHOD /path`` (``*`` within a segment, ``**`` anything) or ``/package.Service/Method``; empty:
    every request. ``headers`` must all be equal on the request. ``nth`` (a number or a tuple of them), ``first`` or
    ``every`` count matching requests from 1 since the fault was installed; none given: all of them. Raises FaultError
    on a value out of range.
    """

    link: str
    operation: str = field(default="", kw_only=True)
    headers: dict[str, str] = field(default_factory=dict, kw_only=True)
    nth: int | tuple[int, ...] = field(default=(), kw_only=True)
    first: int | None = field(default=None, kw_only=True)
    every: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the common fields."""
        is_link(self, self.link)
        when(self, self.nth, self.first, self.every)

    @property
    def target(self) -> str:
        """The link."""
        return self.link

    def rule(self, fault_id: str, kind: str, params: dict[str, Any], *, hits: When | None = None) -> tuple[Action, ...]:
        """Give the one wire rule that this fault compiles to."""
        chosen = hits or when(self, self.nth, self.first, self.every)
        headers = {name.lower(): value for name, value in self.headers.items()}
        return (
            WireRule(
                id=f"{fault_id}.1",
                fault=fault_id,
                link=self.link,
                kind=kind,
                operation=self.operation,
                headers=headers,
                when=chosen,
                params=params,
            ),
        )
