"""The catalogue of faults: values that say what is wrong, where, when, for whom; one file a family.

``catalogue`` finds every fault by its class name. A family file holds frozen dataclasses with ``target`` and
``actions(fault_id)``; nothing here carries anything out. Ranges stand in the fields' types (``Annotated[int,
Between(1, 10)]``, ``Literal[...]``), where :func:`check_fields`, the documentation and the strategies find them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pytest_chaos.errors import FaultError
from pytest_chaos.model.fault import DAY_S, EVERYBODY, Action, Fault, When, Whom, WireRule
from pytest_chaos.registry import Registry

catalogue: Registry[type[Fault]] = Registry("pytest_chaos.faults")

_LINK = re.compile(r"\S+ -> \S+\Z")
MOST = 1_000_000
"""The largest count that a fault takes."""


@dataclass(frozen=True, slots=True)
class Between:
    """A number's range, ends included, as a field's annotation; the field's own type says whether it is whole."""

    low: float
    high: float
    unit: str = ""


Count = Annotated[int, Between(1, MOST)]
Seconds = Annotated[float, Between(0, DAY_S, "s")]


def bounded(
    fault: object, name: str, value: object, low: float, high: float, *, unit: str = "", whole: bool = False
) -> None:
    """Raise FaultError naming fault, field, value and range unless ``low <= value <= high``; None means "not given"."""
    if value is None:
        return
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = type(fault).__name__
        ends = [int(end) if end == int(end) else end for end in (low, high)]
        number = "whole number" if whole else "number"
        msg = f"{kind}: {name}={value!r}: must be a {number} from {ends[0]} to {ends[1]}{' ' + unit if unit else ''}"
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


def is_node(fault: object, value: object, *, name: str = "node") -> None:
    """Raise FaultError unless the value reads like a node's name; ``name`` is the field's (``node``, ``broker``)."""
    if not isinstance(value, str) or not value or "->" in value or any(letter.isspace() for letter in value):
        example = "bus" if name == "broker" else "orders"
        msg = (
            f"{type(fault).__name__}: {name}={value!r}: must be the name of a {name} of the topology, "
            f"for example {example!r}"
        )
        raise FaultError(msg)


def check_fields(fault: object) -> None:
    """Raise FaultError naming fault, field, value and range where a value does not fit the range in its field's type.

    ``link``, ``node`` and ``broker`` must read like such, flags be true or false, text be text. None passes where it is
    a type.
    """
    kind: Any = type(fault)
    for name, hint in hints(kind).items():
        value = getattr(fault, name)
        if name == "link":
            is_link(fault, value)
        elif name in {"node", "broker"}:
            is_node(fault, value, name=name)
        elif value is not None or type(None) not in alternatives(hint):
            _check(fault, name, value, hint)


def _check(fault: object, name: str, value: Any, hint: Any) -> None:
    shapes = [shape for shape in alternatives(hint) if shape is not type(None)]
    if len(shapes) != 1:
        return
    (shape,) = shapes
    limits = next((part for part in get_args(shape)[1:] if isinstance(part, Between)), None)
    if get_origin(shape) is Annotated and limits is not None:
        whole = get_args(shape)[0] is int
        bounded(fault, name, _given(value), limits.low, limits.high, unit=limits.unit, whole=whole)
    elif get_origin(shape) is Literal:
        one_of(fault, name, value, get_args(shape))
    elif not _well(value, shape):
        said = _SHAPES.get(get_origin(shape) or shape, f"a {getattr(shape, '__name__', shape)}")
        msg = f"{type(fault).__name__}: {name}={value!r:.80}: must be {said}"
        raise FaultError(msg)


_SHAPES: dict[Any, str] = {bool: "True or False", str: "a string", dict: "a dict of strings to strings"}


def _well(value: object, shape: Any) -> bool:
    if get_origin(shape) is dict:
        return isinstance(value, dict) and all(isinstance(part, str) for pair in value.items() for part in pair)
    if shape is Any or get_origin(shape) is not None or not isinstance(shape, type):
        return True
    return isinstance(value, (int, float) if shape is float else shape)


def _given(value: object) -> object:
    return "None" if value is None else value


@functools.cache
def hints(kind: type[Any]) -> dict[str, Any]:
    """Give a fault's fields with their types, ranges included."""
    found = get_type_hints(kind, include_extras=True)
    return {one.name: found[one.name] for one in fields(kind)}


def alternatives(hint: Any) -> tuple[Any, ...]:
    """Give the members of a union, or the type itself."""
    return tuple(_members(hint))


def _members(hint: Any) -> Iterator[Any]:
    parts = () if get_origin(hint) in {Annotated, Literal} else get_args(hint)
    if type(None) in parts or (parts and get_origin(hint) not in {tuple, list, dict}):
        yield from parts
    else:
        yield hint


def when(fault: object, nth: int | tuple[int, ...], first: int | None, every: int | None, **more: Any) -> When:
    """Make the ``When`` of the common fields; raise FaultError when two counts are given or one is out of range."""
    exact = nth if isinstance(nth, tuple) else (nth,)
    given = [name for name, value in (("nth", exact or None), ("first", first), ("every", every)) if value is not None]
    if len(given) > 1:
        msg = f"{type(fault).__name__}: {' and '.join(given)}: give one of them; each says which requests are hit"
        raise FaultError(msg)
    for number in (*exact, *(value for value in (first, every) if value is not None)):
        bounded(fault, given[0], number, 1, MOST, whole=True)
    try:
        return When(nth=exact, first=first, every=every, **more)
    except FaultError as wrong:
        msg = f"{type(fault).__name__}: {wrong}"
        raise FaultError(msg) from None


@dataclass(frozen=True, slots=True)
class OnRequests:
    """What every fault on requests shares: the link, which of its requests are hit, and whose.

    ``operation`` is ``METHOD /path`` (``*`` within a segment, ``**`` anything) or ``/package.Service/Method``; empty:
    every request. ``headers`` must all be equal on the request. ``nth`` (a number or a tuple of them), ``first`` or
    ``every`` count matching requests from 1 since the fault was installed, all of the link's or (``per="op"``) those
    of each logical operation by itself; none given: all of them. ``probability`` (above 0, up to 1) thins them out,
    repeatably by the seed. ``after_s`` and ``until_s`` are seconds since the installation; such a window promises no
    repetition. ``whom``: one test's requests only. Raises FaultError on a value out of range.
    """

    link: str
    operation: str = field(default="", kw_only=True)
    headers: dict[str, str] = field(default_factory=dict, kw_only=True)
    nth: int | tuple[int, ...] = field(default=(), kw_only=True)
    first: Count | None = field(default=None, kw_only=True)
    every: Count | None = field(default=None, kw_only=True)
    per: Literal["link", "op"] = field(default="link", kw_only=True)
    probability: Annotated[float, Between(0, 1)] | None = field(default=None, kw_only=True)
    after_s: Seconds | None = field(default=None, kw_only=True)
    until_s: Seconds | None = field(default=None, kw_only=True)
    whom: Whom = field(default=EVERYBODY, kw_only=True)

    def __post_init__(self) -> None:
        """Check every field against the range in its type, and the counts and the window against each other."""
        check_fields(self)
        self._when()

    @property
    def target(self) -> str:
        """The link."""
        return self.link

    def _when(self, **counts: Any) -> When:
        counts = counts or {"nth": self.nth, "first": self.first, "every": self.every}
        return when(
            self,
            counts.get("nth", ()),
            counts.get("first"),
            counts.get("every"),
            per=self.per,
            probability=self.probability,
            after_s=self.after_s,
            until_s=self.until_s,
        )

    def rule(
        self, fault_id: str, kind: str, params: dict[str, Any] | None = None, *, hits: When | None = None
    ) -> tuple[Action, ...]:
        """Give the one wire rule that this fault compiles to."""
        return (
            WireRule(
                id=f"{fault_id}.1",
                fault=fault_id,
                link=self.link,
                kind=kind,
                operation=self.operation,
                headers={name.lower(): value for name, value in self.headers.items()},
                when=hits or self._when(),
                whom=self.whom,
                params=params or {},
            ),
        )
