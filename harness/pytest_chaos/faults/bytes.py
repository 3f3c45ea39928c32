"""Faults on the byte stream: Toxiproxy's toxics under names that say what they do, with bounds, and some of our own.

``stream="downstream"`` is what the callee answers, ``"upstream"`` what the caller sends. A toxic acts on every
connection of the link, open ones too. Toxiproxy carries it out where the link has one, elsewhere wire; what Toxiproxy
has no word for is wire's everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pytest_chaos.errors import FaultError
from pytest_chaos.faults import Between, bounded, catalogue, is_link, one_of
from pytest_chaos.model.fault import Action, ByteFault

Stream = Literal["upstream", "downstream"]

# A toxic that sleeps cannot be removed before it wakes; an undo has five seconds.
_LONGEST_RESET_MS = 4_000
_LONGEST_MS = 600_000
_Ms = Annotated[int, Between(1, _LONGEST_MS, "ms")]
_Size = Annotated[int, Between(1, 2**31, "bytes")]


@dataclass(frozen=True, slots=True)
class _OnBytes:
    link: str
    stream: Stream = field(default="downstream", kw_only=True)

    def __post_init__(self) -> None:
        is_link(self, self.link)
        one_of(self, "stream", self.stream, ("upstream", "downstream"))

    @property
    def target(self) -> str:
        """The link."""
        return self.link

    def _whole(self, name: str, value: object, low: int, high: int, *, unit: str = "") -> None:
        bounded(self, name, value, low, high, unit=unit)
        if not isinstance(value, int):
            msg = (
                f"{type(self).__name__}: {name}={value!r}: must be a whole number from {low} to {high} {unit}".rstrip()
            )
            raise FaultError(msg)

    def _toxic(self, fault_id: str, name: str, attributes: dict[str, Any]) -> tuple[Action, ...]:
        return (
            ByteFault(
                id=f"{fault_id}.1",
                fault=fault_id,
                link=self.link,
                toxic=name,
                stream=self.stream,
                attributes=attributes,
            ),
        )


_POINT = re.compile(r"p(\d{1,2}(?:\.\d{1,3})?|100) (\d{1,6}(?:\.\d{1,3})?) ?(ms|s)\Z")
_CURVE = "must be percentiles that rise, such as 'p50 20 ms, p99 2 s' (up to 600 s)"


@catalogue.register("Latency")
@dataclass(frozen=True, slots=True)
class Latency(_OnBytes):
    """Every chunk of bytes is late by ``ms`` ms (1 to 600 000), give or take ``jitter_ms``; connecting is not.

    ``distribution``: ``uniform`` (``ms`` +- ``jitter_ms``), or ``normal`` (``jitter_ms`` is the standard deviation;
    never below 0). ``ms`` may be percentiles instead, ``"p50 20 ms, p99 2 s"``: linear in between, from 0 ms up to the
    lowest, never more than the highest. Chunks keep their order; each delay is drawn from the seed.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"ms": 100},
        {"ms": 100, "stream": "upstream"},
        {"ms": "p50 20 ms, p99 100 ms"},
    )

    ms: _Ms | str
    jitter_ms: Annotated[int, Between(0, _LONGEST_MS, "ms")] = field(default=0, kw_only=True)
    distribution: Literal["uniform", "normal"] = field(default="uniform", kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        _OnBytes.__post_init__(self)
        one_of(self, "distribution", self.distribution, ("uniform", "normal"))
        if isinstance(self.ms, str):
            self._percentiles(self.ms)
            self._whole("jitter_ms", self.jitter_ms, 0, 0, unit="ms (percentiles say it all)")
        else:
            self._whole("ms", self.ms, 1, _LONGEST_MS, unit="ms")
            self._whole("jitter_ms", self.jitter_ms, 0, self.ms, unit="ms (not more than ms itself)")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to the toxic ``latency``."""
        if isinstance(self.ms, str):
            curve = {"distribution": "percentiles", "percentiles": self._percentiles(self.ms)}
            return self._toxic(fault_id, "latency", curve)
        shape = {} if self.distribution == "uniform" else {"distribution": self.distribution}
        return self._toxic(fault_id, "latency", {"latency": self.ms, "jitter": self.jitter_ms, **shape})

    def _percentiles(self, text: str) -> dict[str, int]:
        points = [_POINT.match(part.strip()) for part in text.split(",")]
        curve = [(float(one[1]), float(one[2]) * (1000 if one[3] == "s" else 1)) for one in points if one]
        times = [ms for _, ms in curve]
        if len(curve) < len(points) or curve != sorted(curve) or times != sorted(times) or curve[0][0] <= 0:
            msg = f"Latency: ms={text!r}: {_CURVE}"
            raise FaultError(msg)
        if len({point for point, _ in curve}) < len(curve) or times[-1] > _LONGEST_MS:
            msg = f"Latency: ms={text!r}: {_CURVE}"
            raise FaultError(msg)
        return {f"{point:g}": round(ms) for point, ms in curve}


@catalogue.register("Bandwidth")
@dataclass(frozen=True, slots=True)
class Bandwidth(_OnBytes):
    """Not more than ``kb_per_s`` kB a second (1 to 10 000 000) pass. To stall a link use :class:`Blackhole`."""

    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"kb_per_s": 10}, {"kb_per_s": 10, "stream": "upstream"})

    kb_per_s: Annotated[int, Between(1, 10_000_000, "kB/s")]

    def __post_init__(self) -> None:
        """Check the fields."""
        _OnBytes.__post_init__(self)
        self._whole("kb_per_s", self.kb_per_s, 1, 10_000_000, unit="kB/s (to stall a link use Blackhole)")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to the toxic ``bandwidth``."""
        return self._toxic(fault_id, "bandwidth", {"rate": self.kb_per_s})


@catalogue.register("LimitData")
@dataclass(frozen=True, slots=True)
class LimitData(_OnBytes):
    """A connection is closed once ``bytes`` bytes (1 to 2 GiB) went through it since the fault was installed."""

    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"bytes": 10}, {"bytes": 10, "stream": "upstream"})

    bytes: _Size

    def __post_init__(self) -> None:
        """Check the fields."""
        _OnBytes.__post_init__(self)
        self._whole("bytes", self.bytes, 1, 2**31)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to the toxic ``limit_data``."""
        return self._toxic(fault_id, "limit_data", {"bytes": self.bytes})


@catalogue.register("SlowClose")
@dataclass(frozen=True, slots=True)
class SlowClose(_OnBytes):
    """The end of a stream (FIN or RST) is passed on ``ms`` milliseconds late (1 to 600 000)."""

    ms: _Ms

    def __post_init__(self) -> None:
        """Check the fields."""
        _OnBytes.__post_init__(self)
        self._whole("ms", self.ms, 1, _LONGEST_MS, unit="ms")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to the toxic ``slow_close``."""
        return self._toxic(fault_id, "slow_close", {"delay": self.ms})


@catalogue.register("Slicer")
@dataclass(frozen=True, slots=True)
class Slicer(_OnBytes):
    """Bytes come in slices of ``average`` (1 to 65 536) +- ``variation``, ``delay_us`` us apart (0 to 10 s)."""

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"average": 7, "delay_us": 1000},
        {"average": 7, "delay_us": 1000, "stream": "upstream"},
    )

    average: Annotated[int, Between(1, 65_536, "bytes")]
    variation: Annotated[int, Between(0, 65_535, "bytes")] = field(default=0, kw_only=True)
    delay_us: Annotated[int, Between(0, 10_000_000, "us")] = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        _OnBytes.__post_init__(self)
        self._whole("average", self.average, 1, 65_536, unit="bytes")
        self._whole("variation", self.variation, 0, max(0, self.average - 1), unit="bytes (less than average)")
        self._whole("delay_us", self.delay_us, 0, 10_000_000, unit="us")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to the toxic ``slicer``."""
        return self._toxic(
            fault_id, "slicer", {"average_size": self.average, "size_variation": self.variation, "delay": self.delay_us}
        )


@catalogue.register("Blackhole")
@dataclass(frozen=True, slots=True)
class Blackhole:
    """Bytes are read and vanish, and the connection stays open; lifting the fault closes the connections that it hit.

    ``stream``: ``"downstream"`` (the answers), ``"upstream"`` or ``"both"``.
    """

    link: str
    stream: Literal["upstream", "downstream", "both"] = field(default="downstream", kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        is_link(self, self.link)
        one_of(self, "stream", self.stream, ("upstream", "downstream", "both"))

    @property
    def target(self) -> str:
        """The link."""
        return self.link

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to a toxic ``timeout`` for each direction."""
        streams: tuple[Stream, ...] = ("upstream", "downstream") if self.stream == "both" else (self.stream,)
        return tuple(
            ByteFault(
                id=f"{fault_id}.{number}",
                fault=fault_id,
                link=self.link,
                toxic="timeout",
                stream=stream,
                attributes={"timeout": 0},
            )
            for number, stream in enumerate(streams, 1)
        )


@catalogue.register("Corrupt")
@dataclass(frozen=True, slots=True)
class Corrupt(_OnBytes):
    """A byte is changed: on each connection the ``at``-th (1 to 2 GiB) since then, or about one in ``one_in`` of all.

    Give one of the two. Which bytes, and what becomes of them, is drawn from the seed. By wire on every link.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"at": 3}, {"at": 3, "stream": "upstream"})

    at: _Size | None = field(default=None, kw_only=True)
    one_in: _Size | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        _OnBytes.__post_init__(self)
        if (self.at is None) == (self.one_in is None):
            msg = f"Corrupt: at={self.at!r}, one_in={self.one_in!r}: give one of them, a whole number from 1 to {2**31}"
            raise FaultError(msg)
        for name, value in (("at", self.at), ("one_in", self.one_in)):
            if value is not None:
                self._whole(name, value, 1, 2**31)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to the toxic ``corrupt``."""
        return self._toxic(fault_id, "corrupt", {"at": self.at} if self.at else {"one_in": self.one_in})


@catalogue.register("ResetPeer")
@dataclass(frozen=True, slots=True)
class ResetPeer(_OnBytes):
    """Connections are reset ``after_ms`` ms (0 to 4 000) after their first bytes since then.

    By wire it is RST for all; by Toxiproxy for those opened since, and the others see FIN.
    """

    after_ms: Annotated[int, Between(0, _LONGEST_RESET_MS, "ms")] = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        _OnBytes.__post_init__(self)
        self._whole("after_ms", self.after_ms, 0, _LONGEST_RESET_MS, unit="ms (it cannot be undone while it sleeps)")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to the toxic ``reset_peer``."""
        return self._toxic(fault_id, "reset_peer", {"timeout": self.after_ms})
