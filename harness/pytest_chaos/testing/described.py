"""The catalogue in words and in examples, derived from the faults: what help, page and conformance run share.

A fault's example is built from the types of its fields. Where they do not say enough, its class says it by itself:

* ``examples``: the fields of each example, beside those that name its place. A string may hold ``{link}``,
  ``{caller}``, ``{callee}`` and the words of a broker (:data:`WORDS`).
* ``no_row``: one sentence, why no example can be shown by itself; it stands in the table instead.
* ``seen_by``: ``"publishers"`` or ``"consumers"``, of a broker's fault that only these can see; the others it leaves
  alone. ``brokers``: the protocols of the brokers that can play it, where not all can.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import textwrap
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pytest_chaos.errors import FaultError
from pytest_chaos.faults import Between, OnRequests, alternatives, catalogue, hints
from pytest_chaos.model.fault import ByteFault, Fault, NodeAction, Whom, WireRule
from pytest_chaos.wire.kinds import KINDS
from pytest_chaos.wire.table import Facts, matches

_SENTENCE = re.compile(r"(.+?\.)(?:\s|$)", re.DOTALL)
_WORD = re.compile(r"\{([a-z]+)\}")
_SHORT_MS, _SHORT_S = 100, 0.2
_NAME = 20
_LONGEST = 40
WORDS = ("channel", "topic", "queue", "exchange", "key", "stream", "group")
"""What an example may call by these names in braces; each broker has some of them."""
_CARRIERS: Mapping[type, str] = {ByteFault: "wire", WireRule: "wire", NodeAction: "the node's runtime"}
_SHARED = frozenset(one.name for one in dataclasses.fields(OnRequests))

CALLS: Mapping[str, tuple[Facts, ...]] = {
    "HTTP/1.1": (Facts(protocol="http/1.1", operation="POST /jobs"),),
    "HTTP/2": (Facts(protocol="h2", operation="POST /jobs"),),
    "gRPC": (Facts(protocol="grpc", operation="/shop.Work/Do"),),
    "AMQP": (
        Facts(protocol="amqp", operation="publish amq.default work"),
        Facts(protocol="amqp", operation="deliver work", named=True),
        Facts(protocol="amqp", operation="ack work", named=True, answered=False),
        Facts(protocol="amqp", operation="get work"),
    ),
    "Kafka": (
        Facts(protocol="kafka", operation="Produce work"),
        Facts(protocol="kafka", operation="Fetch work", named=True),
        Facts(protocol="kafka", operation="OffsetCommit work"),
    ),
    "Redis": (
        Facts(protocol="resp", operation="XADD work"),
        Facts(protocol="resp", operation="XREADGROUP work"),
        Facts(protocol="resp", operation="XACK work"),
    ),
    "TCP": (Facts(protocol="tcp"),),
}
"""Protocol -> what wire sees of the calls by which a protocol is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an example acts: a link and its ends. ``words`` are the callee's own, of :data:`WORDS`."""

    link: str = "orders -> payments"
    caller: str = "orders"
    callee: str = "payments"
    words: Mapping[str, str] = field(default_factory=dict)

    def fill(self, value: Any) -> Any:
        """Put the place's words for ``{word}`` into a value's strings; raise FaultError for one that it has not."""
        if isinstance(value, str):
            return _WORD.sub(self._word, value)
        if isinstance(value, (tuple, list)):
            return type(value)(self.fill(part) for part in value)
        return {name: self.fill(part) for name, part in value.items()} if isinstance(value, dict) else value

    def _word(self, match: re.Match[str]) -> str:
        known = {"link": self.link, "caller": self.caller, "callee": self.callee, **self.words}
        if match[1] not in known:
            msg = f"{{{match[1]}}}: {self.link} has no such word; it has {', '.join(known)}"
            raise FaultError(msg)
        return known[match[1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field in words: what it takes, with range and unit, and its default (empty: it must be given)."""

    name: str
    takes: str
    default: str


@dataclass(frozen=True, slots=True)
class Example:
    """One example of a fault: its fields but for those that say where."""

    kind: type[Fault]
    fields: Mapping[str, Any]

    @property
    def label(self) -> str:
        """How it is written down, without its place."""
        said = ", ".join(f"{name}={value!r}".replace("'", '"') for name, value in self.fields.items())
        return f"{self.kind.__name__}({said})"

    def at(self, place: Place) -> Fault:
        """Make it; raise FaultError where the place lacks a word of it, or the fault refuses it."""
        where = {"link": place.link, "node": place.callee, "broker": place.callee}
        wanted = {name: value for name, value in where.items() if name in hints(self.kind) and name not in self.fields}
        return self.kind(**wanted, **place.fill(dict(self.fields)))


def family(kind: type[Fault]) -> str:
    """Name the file that a fault stands in."""
    return kind.__module__.rpartition(".")[2]


def families() -> dict[str, list[str]]:
    """List the names of the catalogue's faults by family, both sorted."""
    found: dict[str, list[str]] = {}
    for name, kind in catalogue:
        found.setdefault(family(kind), []).append(name)
    return dict(sorted(found.items()))


def about(name: str) -> str:
    """Give the first sentence of a family's (a module's) docstring."""
    kind = catalogue.get(families()[name][0])
    return sentence(importlib.import_module(kind.__module__).__doc__)


def sentence(text: str | None) -> str:
    """Give a docstring's first sentence on one line, without its markup."""
    found = _SENTENCE.match(" ".join(inspect.cleandoc(text or "").split()))
    said = found[1] if found else ""
    return re.sub(r":class:`(\w+)`", r"\1", said).replace("``", "`")


def listed(width: int) -> list[str]:
    """List the catalogue by family, a fault with the first sentence of what it does, in lines of at most ``width``."""
    lines: list[str] = []
    for name, kinds in families().items():
        lines += ["", *textwrap.wrap(f"{name}: {about(name)}", width)]
        for kind in kinds:
            said = textwrap.wrap(sentence(catalogue.get(kind).__doc__), width - _NAME - 2) or [""]
            lines.append(f"  {kind:<{_NAME}}{said[0]}")
            lines += [" " * (_NAME + 2) + line for line in said[1:]]
    return lines[1:]


def why_no_row(kind: type[Fault]) -> str:
    """Give the fault's own word on why it has no row in the table, or nothing."""
    return str(getattr(kind, "no_row", ""))


def own_fields(kind: type[Fault]) -> list[Field]:
    """Describe a fault's own fields; :func:`shared_fields` has those of every fault on requests."""
    shared = _SHARED - {"link"} if issubclass(kind, OnRequests) else frozenset[str]()
    mine = {"operation"} if _needed(kind, "operation") else set()
    return [one for one in _fields(kind) if one.name not in shared - mine]


def shared_fields() -> list[Field]:
    """Describe the fields that every fault on requests has."""
    return [one for one in _fields(OnRequests) if one.name != "link"]


def examples(kind: type[Fault]) -> list[Example]:
    """Give a fault's own examples, else one with what must be given and one for each other word of its own fields.

    Raises FaultError naming the field for which no value follows from its type, where the fault says nothing itself.
    """
    told: tuple[Mapping[str, Any], ...] | None = getattr(kind, "examples", None)
    if told is not None:
        return [Example(kind, fields) for fields in told]
    base = {name: _value(kind, name) for name in hints(kind) if _needed(kind, name) and name not in _PLACES}
    found = [base]
    for one in dataclasses.fields(kind):  # type: ignore[arg-type]
        if one.name in _SHARED and issubclass(kind, OnRequests):
            continue
        (hint, *others) = alternatives(hints(kind)[one.name])
        words = (False, True) if hint is bool else get_args(hint) if get_origin(hint) is Literal else ()
        known = base.get(one.name, one.default)
        found += [{**base, one.name: word} for word in words if word != known and not others]
    return [Example(kind, fields) for fields in found]


def protocols(fault: Fault) -> list[str]:
    """List the protocols on which a fault acts, as wire itself decides it; what is beneath requests acts on each."""
    kind: Any = type(fault)
    where = getattr(kind, "brokers", ("AMQP", "Kafka", "Redis")) if "broker" in hints(kind) else CALLS
    return [name for name, calls in CALLS.items() if name in where and acts_on(fault, calls)]


def seen_by(kind: type[Fault]) -> str:
    """Say who alone can see a broker's fault, its publishers or its consumers; empty: both, or it is no such fault."""
    return str(getattr(kind, "seen_by", ""))


def acts_on(fault: Fault, calls: tuple[Facts, ...]) -> bool:
    """Whether any action of a fault can hit one of these calls."""
    rules = [action for action in fault.actions("f") if isinstance(action, WireRule)]
    if not rules:
        return True
    return any(_beneath(rule, facts) or matches(rule, facts) for rule in rules for facts in calls)


def carriers(fault: Fault) -> list[str]:
    """Say who carries a fault out: wire, Toxiproxy where a link has it, the node's runtime, or whatever else is new."""
    from pytest_chaos.injectors.toxiproxy import knows  # noqa: PLC0415 - its client is not needed for help

    found: dict[str, None] = {}
    for action in fault.actions("f"):
        if isinstance(action, ByteFault) and knows(action.toxic, action.attributes):
            found["wire or Toxiproxy"] = None
        else:
            found[_CARRIERS.get(type(action), "the keeper")] = None
    return list(found)


def _beneath(rule: WireRule, facts: Facts) -> bool:
    """Whether a rule acts on connections whatever is asked on them; plain TCP has no requests that could be counted."""
    if rule.kind == "close_after_requests" and facts.protocol == "tcp":
        return False
    return KINDS[rule.kind].phase not in {"request", "response"}


_PLACES = frozenset({"link", "node", "broker"})


def _needed(kind: type[Any], name: str) -> bool:
    found = {one.name: one for one in dataclasses.fields(kind)}.get(name)
    return found is not None and found.default is MISSING and found.default_factory is MISSING


def _fields(kind: Any) -> list[Field]:
    plain = [one for one in dataclasses.fields(kind) if one.init]
    return [Field(name=one.name, takes=_takes(hints(kind)[one.name]), default=_default(one)) for one in plain]


def _default(one: dataclasses.Field[Any]) -> str:
    if one.default_factory is not MISSING:
        return repr(one.default_factory())
    if one.default is MISSING:
        return ""
    said = "everybody" if isinstance(one.default, Whom) else repr(one.default).replace("'", '"')
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."


_WORDS: Mapping[Any, str] = {
    str: "text", int: "a whole number", float: "a number", bool: "True or False", type(None): "None", Any: "anything",
    dict: "names to text", tuple: "a tuple", list: "a list", Whom: "a Whom",
}  # fmt: skip


def _takes(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        return " or ".join(dict.fromkeys(map(_takes, parts)))
    if origin is Annotated:
        limits = next((part for part in parts[1:] if isinstance(part, Between)), None)
        return _takes(parts[0]) if limits is None else _range(limits)
    if origin is Literal:
        return ", ".join(f'"{part}"' if isinstance(part, str) else repr(part) for part in parts)
    if origin is tuple:
        return f"a tuple of: {_takes(parts[0])}"
    return _WORDS.get(origin or hint, getattr(hint, "__name__", str(hint)))


def _range(limits: Between) -> str:
    low, high = (f"{int(end):,}".replace(",", " ") if end == int(end) else f"{end:g}" for end in _ends(limits))
    return f"{low} to {high} {limits.unit}".rstrip()


def _ends(limits: Between) -> tuple[float, float]:
    return limits.low, limits.high


def _value(kind: type[Fault], name: str) -> Any:
    """Choose a value for a field that must be given: short times, else the smallest that does something."""
    (hint, *_) = alternatives(hints(kind)[name])
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return parts[0]
    limits = next((part for part in parts[1:] if isinstance(part, Between)), None) if origin is Annotated else None
    if limits is not None:
        short = {"ms": _SHORT_MS, "s": _SHORT_S}.get(limits.unit, max(limits.low, 1))
        return (int if parts[0] is int else float)(min(max(short, limits.low), limits.high))
    if hint is bool:
        return True
    if hint is str and name in WORDS:
        return f"{{{name}}}"
    msg = f"{kind.__name__}: {name}: no example follows from its type: give the class `examples`, or `no_row` (why not)"
    raise FaultError(msg)
