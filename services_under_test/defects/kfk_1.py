"""A record whose effect fails is logged and its offset committed: it is lost.

Service: analytics, on topic ``orders``. Provoked by: the warehouse answering 503 to one row: the group's offset passes
the record, the row never comes, and nothing is parked.
"""

from __future__ import annotations

from services_under_test.common.strategies import AfterFailure
from services_under_test.defects import Defect


def _log_and_go_on(attempt: int, limit: int, *, permanent: bool) -> AfterFailure:  # noqa: ARG001 - the seam's shape
    return "skip"


DEFECT = Defect(
    id="KFK-1",
    service="analytics",
    rules=("D1", "D12"),
    scenario="status 503 on POST /rows for one record",
    also={
        "D4": "later records of the same order are processed while an earlier one is missing",
    },
    replaces={"after_failure": _log_and_go_on},
)
