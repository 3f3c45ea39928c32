"""Redis streams: what a consumer had in hand when it died is taken up again."""

from __future__ import annotations

import pytest

from fixtures.shop import USER
from pytest_chaos import Chaos, Delivery, KillAt


@pytest.mark.chaos(needs=("redis",))
def test_a_consumer_that_restarts_takes_its_pending_entries_up_again(chaos: Chaos) -> None:
    users = chaos.client("users")
    with chaos.fault(KillAt("analytics", "analytics -> warehouse", operation="POST /rows", phase="before_send")):
        for _ in range(3):
            assert users.post("/api/users", json=USER).status_code == 201
        chaos.wait_until(
            lambda: any(event.event == "killed" for event in chaos.history().node_events), what="the kill of analytics"
        )
    chaos.check(Delivery("keys", channel="user.activity", effects="warehouse", subscriber="analytics", rules=("D1",)))
