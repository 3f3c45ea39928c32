"""The circuit closes on the first good probe: the count of successes is compared with nothing.

Service: orders, on its link to payments. Provoked by: trip the circuit, wait, one good probe, then failures: more
attempts pass than one.
"""

from __future__ import annotations

from services_under_test.common.breaker import Breaker
from services_under_test.defects import Defect


class _Hasty(Breaker):
    def _enough(self, successes: int, needed: int) -> bool:
        return successes >= min(needed, 1)


DEFECT = Defect(
    id="CB-1",
    service="orders",
    rules=("B5",),
    scenario="five failures, the wait, one success, then failures or a burst",
    also={
        "B4": "what follows the first good probe counts as further probes, as many at once as callers come",
        "B3": "after the early close new failures pass, and a checker may date the second opening at the first of them",
    },
    replaces={"breaker": _Hasty},
)
