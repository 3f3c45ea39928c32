"""Faults of delivery: the callee gets a request twice, or after its caller has gone.

The second (or late) delivery is wire's own, on a connection of its own; it is recorded as an attempt that says so
(``replayed``), and never taken for a retry of the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pytest_chaos.faults import Between, OnRequests, catalogue
from pytest_chaos.model.fault import DAY_S, Action

_Delay = Annotated[int, Between(0, DAY_S * 1000, "ms")]


@catalogue.register("DeliverTwice")
@dataclass(frozen=True, slots=True)
class DeliverTwice(OnRequests):
    """The callee gets the same request a second time, ``ms`` milliseconds (0 to a day) after it answered the first.

    The caller has the first answer and learns nothing of the second. Requests of more than 16 MiB are not hit.
    """

    ms: _Delay = field(default=0, kw_only=True)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "deliver_twice", {"ms": self.ms})


@catalogue.register("DeliverLate")
@dataclass(frozen=True, slots=True)
class DeliverLate(OnRequests):
    """The callee gets the request only ``ms`` milliseconds (0 to a day) after its caller has gone.

    ``how``: the caller is cut once its request is complete (``reset`` or ``close``), or left waiting until it gives up
    (``hang``). If the fault is lifted while it waits, the caller is cut and the request is never delivered. Requests of
    more than 16 MiB are not hit.
    """

    ms: _Delay = field(default=0, kw_only=True)
    how: Literal["hang", "reset", "close"] = field(default="hang", kw_only=True)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one wire rule."""
        return self.rule(fault_id, "deliver_late", {"ms": self.ms, "how": self.how})
