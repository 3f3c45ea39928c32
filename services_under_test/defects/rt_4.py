"""The retry has no deadline: four attempts of full length and the pauses between them take as long as they take.

Service: orders (payments and inventory) and users (orders); nobody's answer is bounded either. Provoked by: every
answer of payments held longer than an attempt may take; the last attempt starts after the time that was promised for
all.
"""

from __future__ import annotations

import math

from services_under_test.defects import Defect


def _never(_: float) -> float:
    return math.inf


DEFECT = Defect(
    id="RT-4",
    service="orders",
    rules=("R7",),
    scenario="POST /payments held for all attempts",
    also={
        "T5": "the caller has no answer by its deadline, because nothing that its answer waits for has one",
        "T2": "the calls that follow get more time than their caller has left",
    },
    replaces={"deadline_at": _never},
)
