"""The retry repeats after anything: refusals, mistakes of the caller, an open circuit.

Service: orders (payments and inventory) and users (orders). Provoked by: payments answering 400 or 402; the same
request is sent four times.
"""

from __future__ import annotations

from services_under_test.common.outcome import Outcome
from services_under_test.defects import Defect


def _anything(_: Outcome) -> bool:
    return True


DEFECT = Defect(
    id="RT-2",
    service="orders",
    rules=("R4",),
    scenario="status 400 (or 402) on POST /payments, or an open circuit",
    also={
        "B7": "an open circuit is retried too, so the caller waits through the backoff instead of being told at once",
        "R1": "four attempts are within the limit; only a policy of fewer attempts for refusals would call it too many",
    },
    replaces={"retryable": _anything},
)
