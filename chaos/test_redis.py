"""Redis streams: what a consumer had in hand when it died is taken up again; what came twice is done once."""

from __future__ import annotations

import pytest

from fixtures.shop import USER
from pytest_chaos import BrokerFull, Chaos, ConfirmLost, Delivery, DropConnectionAt, KillAt, PoisonMessage, Redeliver


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


@pytest.mark.chaos(needs=("redis",))
def test_an_entry_whose_answer_was_lost_is_sent_again_and_counted_once(chaos: Chaos) -> None:
    with chaos.fault(ConfirmLost("users -> keys", operation="XADD user.activity", nth=1)):
        assert chaos.client("users").post("/api/users", json=USER).status_code == 201
        chaos.wait_until(lambda: _count(chaos, "XADD user.activity") > 1, what="the second XADD")
    chaos.check(
        Delivery("keys", channel="user.activity", effects="warehouse", subscriber="analytics", rules=("D1", "D3"))
    )
    assert sum(one.event == "published" for one in chaos.history().messages if one.broker == "keys") == 2


@pytest.mark.chaos(needs=("redis",))
def test_a_consumer_whose_connection_breaks_at_an_acknowledgement_does_its_work_once(chaos: Chaos) -> None:
    with chaos.fault(DropConnectionAt("analytics -> keys", "XACK user.activity", nth=1)):
        assert chaos.client("users").post("/api/users", json=USER).status_code == 201
        chaos.wait_until(lambda: _count(chaos, "XACK user.activity") > 1, what="an XACK that breaks, and one more")
    chaos.check(
        Delivery("keys", channel="user.activity", effects="warehouse", subscriber="analytics", rules=("D1", "D3"))
    )


@pytest.mark.chaos(needs=("redis",))
def test_an_activity_that_found_no_room_is_appended_when_there_is_some(chaos: Chaos) -> None:
    with chaos.fault(BrokerFull("keys")):
        assert chaos.client("users").post("/api/users", json=USER).status_code == 201
        chaos.wait_until(lambda: _count(chaos, "XADD user.activity") > 0, what="an XADD that is refused")
    chaos.check(
        Delivery("keys", channel="user.activity", effects="warehouse", subscriber="analytics", rules=("D1", "D3"))
    )


@pytest.mark.chaos(needs=("redis",))
def test_entries_that_are_delivered_again_are_counted_once(chaos: Chaos) -> None:
    assert chaos.client("users").post("/api/users", json=USER).status_code == 201
    chaos.settle()
    with chaos.fault(Redeliver("keys", "user.activity", group="analytics")):
        chaos.settle()
    chaos.check(
        Delivery("keys", channel="user.activity", effects="warehouse", subscriber="analytics", rules=("D1", "D3"))
    )


@pytest.mark.chaos(needs=("redis",))
def test_an_entry_that_nobody_can_read_is_parked_and_those_behind_it_are_counted(chaos: Chaos) -> None:
    users = chaos.client("users")
    assert users.post("/api/users", json=USER).status_code == 201
    chaos.settle()
    with chaos.fault(PoisonMessage("keys", "user.activity")):
        assert users.post("/api/users", json=USER).status_code == 201
    chaos.check(
        Delivery("keys", channel="user.activity", effects="warehouse", subscriber="analytics", rules=("D1", "D3"))
    )


def _count(chaos: Chaos, operation: str) -> int:
    return sum(one.operation == operation for one in chaos.history().attempts)
