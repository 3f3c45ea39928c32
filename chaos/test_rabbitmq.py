"""RabbitMQ: a mail for every new user, once, whoever dies in between and whoever is away when the news comes."""

from __future__ import annotations

import uuid

import pytest

from fixtures.shop import USER
from pytest_chaos import (
    BrokerFull,
    Chaos,
    ConfirmLost,
    Delivery,
    DropConnectionAt,
    FailFirst,
    Hold,
    Kill,
    KillAt,
    PoisonMessage,
    Redeliver,
    RestartEmpty,
    Unroutable,
)

pytestmark = pytest.mark.chaos(needs=("rabbitmq",))


def mails(*rules: str) -> Delivery:
    return Delivery(
        "bus",
        channel="microservices_events",
        effects="mailgate",
        subscriber="email",
        keys=("user.created",),
        rules=rules,
    )


def first_mail(chaos: Chaos) -> None:
    """See one event through, so that everybody has declared what is his."""
    assert chaos.client("users").post("/api/users", json=USER).status_code == 201
    assert chaos.settle() == ()


def test_a_consumer_killed_between_effect_and_ack_sends_one_mail(chaos: Chaos) -> None:
    users = chaos.client("users")
    with chaos.fault(KillAt("email", "email -> mailgate", operation="POST /mails", phase="after_answer")):
        for _ in range(3):
            assert users.post("/api/users", json=USER).status_code == 201
        chaos.wait_until(
            lambda: any(event.event == "killed" for event in chaos.history().node_events), what="the kill of email"
        )
    chaos.check(mails("D1", "D3"))


def test_a_consumer_killed_at_its_ack_sends_one_mail(chaos: Chaos) -> None:
    with chaos.fault(KillAt("email", "email -> bus", operation="ack email.user.created", phase="before_send")):
        assert chaos.client("users").post("/api/users", json=USER).status_code == 201
        chaos.wait_until(
            lambda: any(event.event == "killed" for event in chaos.history().node_events), what="the kill of email"
        )
    chaos.wait_until(lambda: _count(chaos, "deliver email.user.created") > 1, what="the message, delivered again")
    chaos.check(mails("D1", "D3"))


def test_what_is_published_while_the_subscriber_is_away_comes_afterwards(chaos: Chaos) -> None:
    users = chaos.client("users")
    with chaos.fault(Kill("email")):
        for _ in range(5):
            assert users.post("/api/users", json=USER).status_code == 201
    chaos.check(mails("D1", "D9"))


def test_an_event_that_comes_twice_sends_one_mail_though_the_gateway_refuses_at_first(chaos: Chaos) -> None:
    marker = uuid.uuid4().hex
    event = {"marker": marker, "email": "ada@example.org"}
    with chaos.fault(FailFirst("email -> mailgate", 1, operation="POST /mails")):
        for _ in range(2):
            chaos.publish(
                "bus", "microservices_events", event, key="user.created", headers={"message-id": f"e-{marker}"}
            )
        chaos.wait_until(lambda: _count(chaos, "POST /mails") > 0, what="the first mail")
    chaos.check(mails("D1", "D3"))


def test_an_event_whose_confirm_was_lost_is_published_again_and_mailed_once(chaos: Chaos) -> None:
    with chaos.fault(ConfirmLost("users -> bus", operation="publish microservices_events user.created", nth=1)):
        assert chaos.client("users").post("/api/users", json=USER).status_code == 201
        chaos.wait_until(
            lambda: _count(chaos, "publish microservices_events user.created") > 1, what="the second publish"
        )
    chaos.check(mails("D1", "D3"))
    assert sum(one.event == "published" for one in chaos.history().messages if one.broker == "bus") == 2


def test_a_consumer_whose_connection_breaks_at_an_ack_sends_one_mail(chaos: Chaos) -> None:
    with chaos.fault(DropConnectionAt("email -> bus", "ack email.user.created", nth=1)):
        assert chaos.client("users").post("/api/users", json=USER).status_code == 201
        chaos.wait_until(lambda: _count(chaos, "deliver email.user.created") > 1, what="the message, delivered again")
    chaos.check(mails("D1", "D3"))


def test_a_message_that_nobody_can_read_is_put_aside_and_the_next_user_gets_a_mail(chaos: Chaos) -> None:
    first_mail(chaos)
    with chaos.fault(PoisonMessage("bus", "email.user.created")):
        assert chaos.client("users").post("/api/users", json=USER).status_code == 201
    chaos.check(mails("D1", "D3"))
    dead = [one for one in chaos.history().messages if one.event == "dead"]
    assert [one.headers.get("x-chaos-poison") for one in dead] == ["1"]


def test_an_event_that_no_queue_takes_is_published_until_one_does(chaos: Chaos) -> None:
    first_mail(chaos)
    with chaos.fault(Unroutable("bus", "microservices_events")):
        assert chaos.client("users").post("/api/users", json=USER).status_code == 201
        chaos.wait_until(lambda: _count(chaos, "return microservices_events user.created") > 0, what="a returned event")
    chaos.check(mails("D1"))


def test_a_user_is_created_while_the_broker_is_full_and_gets_a_mail_afterwards(chaos: Chaos) -> None:
    with chaos.fault(BrokerFull("bus")):
        assert chaos.client("users").post("/api/users", json=USER).status_code == 201
        chaos.wait_until(lambda: _blocked(chaos), what="a publisher that is blocked")
    chaos.check(mails("D1"))


def test_a_mail_that_is_being_sent_when_its_event_is_taken_back_is_sent_once(chaos: Chaos) -> None:
    first_mail(chaos)
    before = _count(chaos, "deliver email.user.created")
    with chaos.fault(Redeliver("bus", "email.user.created"), Hold("email -> mailgate", nth=1, for_s=1)):
        assert chaos.client("users").post("/api/users", json=USER).status_code == 201
        chaos.wait_until(
            lambda: _count(chaos, "deliver email.user.created") > before + 1, what="the event, delivered again"
        )
    chaos.check(mails("D1", "D3"))


def test_after_the_broker_has_lost_everything_the_next_user_gets_a_mail(chaos: Chaos) -> None:
    with chaos.fault(RestartEmpty("bus")):
        assert chaos.client("users").post("/api/users", json=USER).status_code == 201
    chaos.check(mails("D1"))


def _blocked(chaos: Chaos) -> bool:
    return any(fault.kind == "BrokerFull" and fault.hits for fault in chaos.history().faults)


def _count(chaos: Chaos, operation: str) -> int:
    return sum(one.operation == operation for one in chaos.history().attempts)
