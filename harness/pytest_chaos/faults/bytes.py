"""Faults on the byte stream: Toxiproxy's toxics under names that say what they do, with bounds.

``stream="downstream"`` is what the callee answers, ``"upstream"`` what the caller sends. A toxic acts on every
connection of the link.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pytest_chaos.errors import FaultError
from pytest_chaos.faults import bounded, catalogue, is_link, one_of
from pytest_chaos.model.fault import Action, ByteFault

Stream = Literal["upstream", "downstream"]

# A toxic that sleeps cannot be removed before it wakes; an undo has five seconds.
_LONGEST_RESET_MS = 4_000
_LONGEST_MS = 600_000


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

    def _toxic(self, fault_id: str, name: str, attributes: dict[str, int]) -> tuple[Action, ...]:
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


@catalogue.register("Latency")
@dataclass(frozen=True, slots=True)
class Latency(_OnBytes):
    """Every chunk of bytes is late by ``ms`` ms (1 to 600 000), give or take ``jitter_ms``; connecting is not."""

    ms: int
    jitter_ms: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        _OnBytes.__post_init__(self)
        self._whole("ms", self.ms, 1, _LONGEST_MS, unit="ms")
        self._whole("jitter_ms", self.jitter_ms, 0, self.ms, unit="ms (not more than ms itself)")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to the toxic ``latency``."""
        return self._toxic(fault_id, "latency", {"latency": self.ms, "jitter": self.jitter_ms})


@catalogue.register("Bandwidth")
@dataclass(frozen=True, slots=True)
class Bandwidth(_OnBytes):
    """Not more than ``kb_per_s`` kB a second (1 to 10 000 000) pass. To stall a link use :class:`Blackhole`."""

    kb_per_s: int

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

    bytes: int

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
    """The end of a stream (FIN) is passed on ``ms`` milliseconds late (1 to 600 000)."""

    ms: int

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

    average: int
    variation: int = field(default=0, kw_only=True)
    delay_us: int = field(default=0, kw_only=True)

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
class Blackhole(_OnBytes):
    """Bytes vanish and the connection stays open; lifting the fault closes the connections that it held."""

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to the toxic ``timeout``."""
        return self._toxic(fault_id, "timeout", {"timeout": 0})


@catalogue.register("ResetPeer")
@dataclass(frozen=True, slots=True)
class ResetPeer(_OnBytes):
    """Connections are reset ``after_ms`` ms (0 to 4 000) after their first bytes; with RST if opened since."""

    after_ms: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        _OnBytes.__post_init__(self)
        self._whole("after_ms", self.after_ms, 0, _LONGEST_RESET_MS, unit="ms (it cannot be undone while it sleeps)")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to the toxic ``reset_peer``."""
        return self._toxic(fault_id, "reset_peer", {"timeout": self.after_ms})
