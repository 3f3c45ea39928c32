"""RabbitMQ: a mail for every new user, once, whoever dies in between and whoever is away when the news comes."""

from __future__ import annotations

import uuid

import pytest

from fixtures.shop import USER
from pytest_chaos import Chaos, ConfirmLost, Delivery, DropConnectionAt, FailFirst, Kill, KillAt

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


def _count(chaos: Chaos, operation: str) -> int:
    return sum(one.operation == operation for one in chaos.history().attempts)
