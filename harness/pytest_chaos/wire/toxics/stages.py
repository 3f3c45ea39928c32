"""The byte faults: Toxiproxy's toxics under their own names, and more. Pure.

Names, attributes and units are Toxiproxy's (its documentation, github.com/Shopify/toxiproxy); what are defects there is
left out, and docs/wire.md lists it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from pytest_chaos.wire.toxics.chain import NEVER_NS, Item, Stage
from pytest_chaos.wire.toxics.delays import delay_ms

_MS: Final = 1_000_000
_US: Final = 1_000
_IN_FLIGHT: Final = 16 * 2**20
_SLICE_MS: Final = 10


class Latency(Stage):
    """Each chunk comes late by a drawn time, in order; a FIN behind it comes behind it."""

    room = _IN_FLIGHT

    def take(self, item: Item) -> None:
        """Hold data for its delay."""
        at_ns, what, data = item
        if what == "data":
            ms = delay_ms(self.params, self.next_draw)
            self.touch(at_ns, len(data))
            at_ns += round(ms * _MS)
        self.put(at_ns, what, data)


class Bandwidth(Stage):
    """So many kB (1000 bytes) a second pass, in slices of 10 ms; a slice comes out when its last byte would."""

    def take(self, item: Item) -> None:
        """Spread data over the time that it takes."""
        at_ns, what, data = item
        if what != "data":
            self.put(at_ns, what, data)
            return
        rate = self.params["rate"]
        self.touch(at_ns, len(data))
        size = rate * _SLICE_MS
        for start in range(0, len(data), size):
            part = data[start : start + size]
            self.put(max(self._last_ns, at_ns) + len(part) * _MS // rate, "data", part)


class SlowClose(Stage):
    """The end of the stream comes late, whichever way it ends: some callees (RabbitMQ) answer a close with RST."""

    def take(self, item: Item) -> None:
        """Hold a FIN or RST."""
        at_ns, what, data = item
        if what in ("eof", "end", "rst"):
            self.touch(at_ns, 0)
            at_ns += self.params["delay"] * _MS
        self.put(at_ns, what, data)


class Timeout(Stage):
    """Everything vanishes, a FIN or RST too; after ``timeout`` ms (0: never) the connection is closed.

    Once something has vanished, lifting closes the connection: its stream has a hole. An end that vanishes is no hit:
    an idle connection that its pool happens to close says nothing of the fault.
    """

    _hole = False

    def begin(self, at_ns: int) -> None:
        """Set the time, once: data does not put it off."""
        if self.params["timeout"]:
            self.alarm_ns = at_ns + self.params["timeout"] * _MS

    def take(self, item: Item) -> None:
        """Drop."""
        at_ns, what, data = item
        if what in ("close", "reset"):
            self.put(at_ns, what, data)
            return
        self._hole = True
        if what == "data":
            self.touch(at_ns, len(data))

    def alarm(self, at_ns: int) -> None:
        """Close."""
        self.touch(at_ns, 0)
        self.put(at_ns, "close", b"")

    def lift(self, at_ns: int) -> list[Item]:
        """Close what cannot go on."""
        held = super().lift(at_ns)
        return [(at_ns, "close", b"")] if self._hole else held


class ResetPeer(Stage):
    """The connection is reset ``timeout`` ms after the first data, which is held until then."""

    _armed = False

    def take(self, item: Item) -> None:
        """Hold everything from the first data on."""
        at_ns, what, data = item
        if what == "data" and not self._armed:
            self._armed = True
            self.alarm_ns = at_ns + self.params["timeout"] * _MS
        if not self._armed:
            self.put(at_ns, what, data)
            return
        self._queue.append((NEVER_NS, what, data))
        self.held += len(data)

    def alarm(self, at_ns: int) -> None:
        """Reset."""
        self.touch(at_ns, self.held)
        self._queue.clear()
        self.held = 0
        self.put(at_ns, "reset", b"")


class Slicer(Stage):
    """Data comes in slices of ``average_size`` +- ``size_variation`` bytes, ``delay`` us apart."""

    _free_ns = 0

    def take(self, item: Item) -> None:
        """Cut data up."""
        at_ns, what, data = item
        if what != "data":
            self.put(at_ns, what, data)
            return
        average, variation = self.params["average_size"], self.params.get("size_variation", 0)
        gap_ns = self.params.get("delay", 0) * _US
        self.touch(at_ns, len(data))
        start, due_ns = 0, max(self._free_ns, at_ns)
        while start < len(data):
            size = average - variation + (int(self.next_draw() * (2 * variation + 1)) if variation else 0)
            self.put(due_ns, "data", data[start : start + size])
            start, due_ns = start + size, due_ns + gap_ns
        self._free_ns = due_ns


class LimitData(Stage):
    """So many bytes pass since the rule came into force here, then the connection is closed."""

    _passed = 0

    def take(self, item: Item) -> None:
        """Pass what is left of the limit."""
        at_ns, what, data = item
        if what != "data":
            self.put(at_ns, what, data)
            return
        left = self.params["bytes"] - self._passed
        if left < 0:
            return
        self._passed += len(data)
        self.put(at_ns, what, data[:left])
        if len(data) >= left:
            self._passed = self.params["bytes"] + 1
            self.touch(at_ns, len(data) - left)
            self.put(at_ns, "close", b"")


class Corrupt(Stage):
    """One byte is changed: the ``at``-th since the rule came into force here, or about each ``one_in``-th."""

    _passed = 0
    _next = 0

    def begin(self, at_ns: int) -> None:
        """Choose the first byte."""
        del at_ns
        self._next = self.params.get("at") or self._gap()

    def take(self, item: Item) -> None:
        """Change the chosen bytes."""
        at_ns, what, data = item
        if what == "data" and self._passed < self._next <= self._passed + len(data):
            changed, count = bytearray(data), 0
            while self._passed < self._next <= self._passed + len(data):
                changed[self._next - self._passed - 1] ^= 1 + int(self.next_draw() * 255)
                count += 1
                self._next += self._gap() if "one_in" in self.params else NEVER_NS
            data_out = bytes(changed)
            self.touch(at_ns, count)
        else:
            data_out = data
        self._passed += len(data)
        self.put(at_ns, what, data_out)

    def _gap(self) -> int:
        """Draw how many bytes further the next one is (geometric distribution, by inversion)."""
        one_in = self.params["one_in"]
        return 1 if one_in == 1 else 1 + int(math.log1p(-self.next_draw()) / math.log1p(-1 / one_in))


class CloseAfter(Stage):
    """The connection is closed ``ms`` after the rule came into force here, whatever goes on."""

    def begin(self, at_ns: int) -> None:
        """Set the time."""
        self.alarm_ns = at_ns + self.params["ms"] * _MS

    def alarm(self, at_ns: int) -> None:
        """Close."""
        self.touch(at_ns, 0)
        self.put(at_ns, "close", b"")


class HalfOpen(Stage):
    """The receiver has vanished and nobody told the sender: its data gets no answer, or ``then`` a RST.

    A FIN gets nothing. Lifting resets: there is nobody to go on with.
    """

    def begin(self, at_ns: int) -> None:
        """Count the connection."""
        self.touch(at_ns, 0)

    def take(self, item: Item) -> None:
        """Drop, or reset."""
        at_ns, what, data = item
        if what == "data":
            self.touch(at_ns, len(data))
        if what == "reset" or (what == "data" and self.params.get("then", "silence") == "reset"):
            self.put(at_ns, "reset", b"")

    def lift(self, at_ns: int) -> list[Item]:
        """Reset."""
        return [(at_ns, "reset", b"")]


STAGES: Final[Mapping[str, type[Stage]]] = {
    "latency": Latency,
    "bandwidth": Bandwidth,
    "slow_close": SlowClose,
    "timeout": Timeout,
    "reset_peer": ResetPeer,
    "slicer": Slicer,
    "limit_data": LimitData,
    "corrupt": Corrupt,
    "close_after": CloseAfter,
    "half_open": HalfOpen,
}
"""By the toxic's name: Toxiproxy's, then ours."""
