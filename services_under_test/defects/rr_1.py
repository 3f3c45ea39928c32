"""Fire-and-forget without bounds: every notification waits for as long as it takes, and as many as come.

Service: users, on its link to notifications. Provoked by: notifications' answers held and a burst of new users: open
attempts grow.
"""

from __future__ import annotations

from services_under_test.common.strategies import SideLimits
from services_under_test.defects import Defect


def _none(_: SideLimits) -> SideLimits:
    return SideLimits(limit=0, backlog=0, timeout_s=None)


DEFECT = Defect(
    id="RR-1",
    service="users",
    rules=("N2", "L1"),
    scenario="POST /api/notifications held, and a burst of POST /api/users",
    also={
        "T1": "an attempt that nothing bounds outlives the time-out that is declared on the link",
    },
    replaces={"side_limits": _none},
)
