"""Fire-and-forget: a side task neither slows its caller down nor piles up, however its callee behaves."""

from __future__ import annotations

import pytest

from fixtures.shop import USER
from pytest_chaos import Bulkhead, Chaos, FireAndForget, Hold

LINK = "users -> notifications"


@pytest.mark.chaos
def test_notifications_that_hang_do_not_matter_to_new_users(chaos: Chaos) -> None:
    users = chaos.client("users")
    for _ in range(20):
        assert users.post("/api/users", json=USER).status_code == 201
    with chaos.fault(Hold(LINK, operation="POST /api/notifications")):
        for _ in range(20):
            assert users.post("/api/users", json=USER).status_code == 201
        chaos.settle()
    chaos.check(
        FireAndForget(LINK, operations=("POST /api/users",), bound_s=1.0, limit=4, rules=("N1", "N2")),
        chaos.policy(Bulkhead, LINK, rules=["L1"]),
    )
