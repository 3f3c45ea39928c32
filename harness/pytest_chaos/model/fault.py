"""Faults are values: what is wrong, where, when, for whom. This file holds what every family shares.

A fault compiles to *actions*; an injector carries each action out and keeps its undo. Users write faults; only the
faults room writes actions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, Protocol

from pytest_chaos.errors import FaultError
from pytest_chaos.model.whose import TEST, baggage, whose

DAY_S = 86_400
_LONGEST = 256
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_VALUE = re.compile(rf"[\x20-\x7e]{{0,{_LONGEST}}}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Which of the matching requests are hit, counted since the fault was installed, from 1.

    ``nth`` exactly these; ``first`` the first n; ``every`` each k-th; all unset: every one. ``per`` says what is
    counted: the requests of the ``link``, or of each logical operation by itself (``op``), which repeats even where
    many callers run in parallel. ``probability`` (above 0, up to 1) thins out what the count leaves: the draw depends
    on seed, fault, link, operation and ordinal within it, and on nothing else.

    ``after_s`` and ``until_s`` are a window in seconds since the installation (up to a day): a request outside is
    neither hit nor counted. A window in time promises no repetition: what falls into it depends on how fast
    everybody was. Raises FaultError on a value out of range.
    """

    nth: tuple[int, ...] = ()
    first: int | None = None
    every: int | None = None
    per: Literal["link", "op"] = "link"
    probability: float | None = None
    after_s: float | None = None
    until_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what can never be reached."""
        if not isinstance(self.nth, tuple):
            _refuse("nth", self.nth, "must be a tuple of whole numbers from 1")
        counts: tuple[tuple[str, Any], ...] = (("first", self.first), ("every", self.every))
        for name, value in (*(("nth", number) for number in self.nth), *counts):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                _refuse(name, value, "must be 1 or more (requests are counted from 1)")
        if self.per not in {"link", "op"}:
            _refuse("per", self.per, "must be 'link' or 'op'")
        if self.probability is not None and not (_number(self.probability) and 0 < self.probability <= 1):
            _refuse("probability", self.probability, "must be above 0 and not more than 1")
        for name, value_s in (("after_s", self.after_s), ("until_s", self.until_s)):
            if value_s is not None and not (_number(value_s) and 0 <= value_s <= DAY_S):
                _refuse(name, value_s, f"must be a number from 0 to {DAY_S} s")
        if self.until_s is not None and self.until_s <= (self.after_s or 0):
            _refuse("until_s", self.until_s, f"must be more than after_s={self.after_s or 0:g}: the window is empty")

    def hits(self, ordinal: int, drawn: float = 0.0) -> bool:
        """Whether the request with this ordinal (from 1) is hit; ``drawn`` (0 to below 1) decides by chance."""
        if self.probability is not None and drawn >= self.probability:
            return False
        if self.nth:
            return ordinal in self.nth
        if self.first is not None:
            return ordinal <= self.first
        return self.every is None or ordinal % self.every == 0

    def within(self, elapsed_s: float) -> bool:
        """Whether the window is open so many seconds after the installation."""
        return (self.after_s or 0) <= elapsed_s and (self.until_s is None or elapsed_s < self.until_s)

    @property
    def timed(self) -> bool:
        """Whether there is a window."""
        return self.after_s is not None or self.until_s is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whom:
    """Whose requests are hit: everybody's unless something is set, else those that carry all that is set.

    ``trace_id``: the W3C trace id (32 hex digits); ``correlation_id``: exactly this ``x-correlation-id``;
    ``correlation_prefix``: one that begins so; ``baggage``: these W3C baggage entries, by name and (decoded) value;
    ``test``: the 12 hex digits of a test, which its driver's calls carry in trace id, correlation id and baggage, so
    that a service need pass only one of them on. Read from the request's own headers, so that a fault can be for one
    test where several share a stack. Raises FaultError on a value that no request can carry.
    """

    trace_id: str = ""
    correlation_id: str = ""
    correlation_prefix: str = ""
    baggage: dict[str, str] = field(default_factory=dict)
    test: str = ""

    def __post_init__(self) -> None:
        """Refuse what no request can carry."""
        test: Any = self.test
        if not isinstance(test, str) or not TEST.fullmatch(test or "0" * 12):
            _refuse("test", test, "must be the 12 lower-case hex digits of a test")
        trace_id: Any = self.trace_id
        if not isinstance(trace_id, str) or trace_id == "0" * 32 or not _TRACE_ID.fullmatch(trace_id or "1" * 32):
            _refuse("trace_id", trace_id, "must be 32 lower-case hex digits, not all 0")
        texts: tuple[tuple[str, Any], ...] = (
            ("correlation_id", self.correlation_id),
            ("correlation_prefix", self.correlation_prefix),
        )
        for name, value in texts:
            if not isinstance(value, str) or not _VALUE.fullmatch(value):
                _refuse(name, value, f"must be printable ASCII of at most {_LONGEST} characters")
        entries: Any = self.baggage
        if not isinstance(entries, dict):
            _refuse("baggage", entries, "must map names to values")
        for name, value in entries.items():
            if not isinstance(name, str) or not _TOKEN.fullmatch(name) or not isinstance(value, str):
                _refuse("baggage", {name: value}, "must map names (letters, digits, !#$%&'*+-.^_`|~) to strings")

    def __str__(self) -> str:
        """Say whom, in a few words."""
        names = ("trace_id", "correlation_id", "correlation_prefix", "baggage", "test")
        return ", ".join(f"{name} {getattr(self, name)}" for name in names if getattr(self, name)) or "everybody"

    @property
    def everybody(self) -> bool:
        """Whether nobody is left out."""
        return not (self.trace_id or self.correlation_id or self.correlation_prefix or self.baggage or self.test)

    def matches(self, headers: Mapping[str, str]) -> bool:
        """Whether a request with these headers (lower-case names) is meant."""
        if self.everybody:
            return True
        correlation_id = headers.get("x-correlation-id", "")
        if self.correlation_id and correlation_id != self.correlation_id:
            return False
        if not correlation_id.startswith(self.correlation_prefix):
            return False
        if self.trace_id and headers.get("traceparent", "").lower().split("-")[1:2] != [self.trace_id]:
            return False
        if self.test and whose(headers) != self.test:
            return False
        return not self.baggage or self.baggage.items() <= baggage(headers.get("baggage", "")).items()


EVERYBODY = Whom()


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _refuse(name: str, value: object, range_: str) -> NoReturn:
    msg = f"{name}={value!r:.80}: {range_}"
    raise FaultError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRule:
    """An action of the request-aware proxy: ``kind`` with ``params`` on requests of ``operation`` on ``link``.

    ``operation`` is ``METHOD /path`` (``*`` matches within a path segment, ``**`` anything), a gRPC
    ``/package.Service/Method``, or empty for everything. ``headers`` must all be equal on the request, and it must be
    of those that ``whom`` means.
    """

    id: str
    fault: str
    link: str
    kind: str
    operation: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    when: When = field(default_factory=When)
    whom: Whom = EVERYBODY
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteFault:
    """A byte-level action: a Toxiproxy toxic by its own name, stream and attributes, or one of wire's own.

    Carried out by the engine that the link has; what Toxiproxy has no word for (``corrupt``, ``close_after``, a
    ``latency`` with a ``distribution``) by wire.
    """

    id: str
    fault: str
    link: str
    toxic: str
    stream: Literal["upstream", "downstream"] = "downstream"
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAction:
    """A lifecycle action: kill (SIGKILL), stop (SIGTERM), pause (SIGSTOP), restart; undo is start or resume.

    ``slow_start`` and ``crash_loop`` are about starts to come, ``step_clock`` about the wall clock; what they need more
    is in ``params``. ``wipe``, for brokers: killed, its data removed, started.
    """

    id: str
    fault: str
    node: str
    verb: Literal["kill", "stop", "pause", "restart", "wipe", "slow_start", "crash_loop", "step_clock"]
    at_point: str = ""
    restart_after_s: float | None = None
    params: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A partition, before a topology says which links it cuts: ``model.cutting`` makes wire rules of it.

    ``shape``: between the ``groups``; one group in two ``halves`` or as a ``ring`` (empty: of all nodes); the group
    against the ``rest``.
    """

    id: str
    fault: str
    groups: tuple[tuple[str, ...], ...]
    shape: Literal["groups", "halves", "ring", "rest"] = "groups"
    one_way: bool = False
    how: Literal["blackhole", "refuse", "drop"] = "blackhole"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAction:
    """Something that a broker itself is made to do: ``verb`` with ``params``, carried out by the broker's own package.

    ``params`` are plain values that travel as JSON; bytes are base64 text.
    """

    id: str
    fault: str
    broker: str
    verb: Literal["poison", "unbind", "rebalance", "redeliver", "fill"]
    params: dict[str, Any] = field(default_factory=dict)


Action = WireRule | ByteFault | NodeAction | Cut | BrokerAction


class Fault(Protocol):
    """What every family's dataclass offers."""

    @property
    def target(self) -> str:
        """The link (``orders -> payments``) or node that it is about."""

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to actions whose ids derive from ``fault_id``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One fault of a schedule with the id that it got and what it compiles to.

    ``links``: those that it acts on, where its target is not the one link.
    """

    id: str
    kind: str
    target: str
    params: dict[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    rules: tuple[WireRule, ...] = ()
    toxics: tuple[ByteFault, ...] = ()
    nodes: tuple[NodeAction, ...] = ()
    brokers: tuple[BrokerAction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Faults that are installed whole, in one message, for one owner (a test); ``id`` names the installation."""

    id: str
    owner: str
    faults: tuple[Installed, ...] = ()
