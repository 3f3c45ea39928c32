"""A half-open circuit lets every caller probe at once.

Service: orders, on its link to payments. Provoked by: trip the circuit, wait, hold payments' answers, a burst of
orders: all are let through.
"""

from __future__ import annotations

from services_under_test.common.breaker import Breaker
from services_under_test.defects import Defect


class _Flood(Breaker):
    def _probe_is_free(self, probing: int) -> bool:
        return probing >= 0


DEFECT = Defect(
    id="CB-2",
    service="orders",
    rules=("B4",),
    scenario="five failures, the wait, then a burst of orders while POST /payments is held",
    also={
        "B5": "three probes that succeed side by side close the circuit, though none was in sequence after another",
        "B10": "results of probes that were sent together arrive after the first of them has decided",
    },
    replaces={"breaker": _Flood},
)
