"""Delivery: nothing lost, made up, doubled, reordered or settled too early; nothing decided without a disturbance."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_chaos.checkers.delivery import Delivery
from pytest_chaos.errors import ChaosError
from pytest_chaos.testing import HistoryBuilder, assert_laws

CHECKER = Delivery("bus", "events", effects="mailgate", subscriber="email")


def delivered(
    done: Sequence[str] = ("m1", "m2", "m3"),
    *,
    published: Sequence[str] = ("m1", "m2", "m3"),
    settled: Sequence[str] = ("m1", "m2", "m3"),
    down: bool = True,
    disturbed: bool = True,
    dead: Sequence[str] = (),
    key: str = "k",
) -> HistoryBuilder:
    """Build three messages, the second and third published while the subscriber was down."""
    builder = HistoryBuilder()
    if disturbed and down:
        builder.node("email", "killed", at=100)
        builder.node("email", "started", at=500)
        builder.node("email", "ready", at=600)
    elif disturbed:
        builder.fault("Hold", "email -> mailgate", lifted=800)
    for number, marker in enumerate(published):
        builder.message(marker=marker, at=50 + 100 * number, channel="events", key=key, offset=number, partition=0)
    for number, marker in enumerate(done):
        builder.stub_effect("mailgate", "POST /mails", at=700 + 10 * number, marker=marker, key=marker)
    for marker in settled:
        builder.message("settled", marker=marker, at=900, channel="email.user.created")
    for marker in dead:
        builder.message("dead", marker=marker, at=900, channel="dlq")
    return builder


def outcome(builder: HistoryBuilder, rule: str, checker: Delivery = CHECKER) -> str:
    found = assert_laws(checker, builder.build()).of(rule)
    assert found is not None
    return found.outcome


@pytest.mark.parametrize("rule", ["D1", "D2", "D3", "D4", "D9", "D12"])
def test_a_sound_delivery_holds(rule: str) -> None:
    assert outcome(delivered(), rule) == "PASS"


@pytest.mark.parametrize("rule", ["D1", "D2", "D3", "D4", "D9", "D12"])
def test_without_a_disturbance_nothing_is_decided(rule: str) -> None:
    assert outcome(delivered(disturbed=False), rule) == "INCONCLUSIVE"


TWICE = ("m1", "m2", "m1", "m3")


@pytest.mark.parametrize(
    ("rule", "done", "settled"),
    [
        ("D1", ("m1", "m2"), ("m1", "m2")),
        ("D2", ("m1", "m2", "m3", "ghost"), ("m1",)),
        ("D3", ("m1", "m2", "m1", "m3"), ("m1",)),
        ("D4", ("m2", "m1", "m3"), ("m1",)),
        ("D12", ("m2", "m3"), ("m1",)),
    ],
)
def test_a_message_that_was_published_twice_is_disturbance_enough(
    rule: str, done: Sequence[str], settled: Sequence[str]
) -> None:
    assert outcome(delivered(published=TWICE, disturbed=False), rule) == "PASS"
    assert outcome(delivered(done, published=TWICE, settled=settled, disturbed=False), rule) == "FAIL"
    assert outcome(delivered(published=TWICE, disturbed=False), "D9") == "INCONCLUSIVE"


def test_one_message_in_two_channels_and_messages_without_a_name_are_no_duplicates() -> None:
    everywhere = Delivery("bus", effects="mailgate")
    builder = delivered(disturbed=False)
    builder.message(marker="m1", at=60, channel="copies")
    for at in (70, 80):
        builder.message(marker="", at=at, channel="events")
    assert outcome(builder, "D2", everywhere) == "INCONCLUSIVE"


@pytest.mark.parametrize("rule", ["D1", "D2", "D3", "D9", "D12"])
def test_without_messages_nothing_is_decided(rule: str) -> None:
    assert outcome(delivered((), published=(), settled=()), rule) == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("builder", "rule"),
    [
        (delivered(("m1", "m2")), "D1"),
        (delivered(("m1", "m2", "m3", "ghost")), "D2"),
        (delivered(("m1", "m2", "m2", "m3")), "D3"),
        (delivered(("m1", "m3", "m2")), "D4"),
        (delivered(("m1",), settled=("m1",)), "D9"),
        (delivered(("m1", "m3")), "D12"),
    ],
)
def test_a_planted_violation_is_found(builder: HistoryBuilder, rule: str) -> None:
    assert outcome(builder, rule) == "FAIL"


def test_d1_a_dead_letter_is_not_lost() -> None:
    assert outcome(delivered(("m1", "m2"), dead=("m3",)), "D1") == "PASS"


def test_d1_says_what_still_waits_at_the_broker() -> None:
    builder = delivered(("m1", "m2"), settled=("m1", "m2"))
    builder.message("unacked", marker="m3", at=900, channel="email.user.created")
    found = CHECKER.check(builder.build()).of("D1")
    assert found is not None
    assert (found.outcome, "1 still wait" in found.message) == ("FAIL", True)


def test_d1_cannot_pass_while_a_fault_is_still_active() -> None:
    builder = delivered()
    builder.fault("Hold", "email -> mailgate", lifted=None)
    assert outcome(builder, "D1") == "INCONCLUSIVE"


def test_d3_at_least_once_allows_repeats() -> None:
    lenient = Delivery("bus", "events", effects="mailgate", subscriber="email", mode="at-least-once")
    assert outcome(delivered(("m1", "m2", "m2", "m3")), "D3", lenient) == "PASS"


def test_d9_is_not_asked_of_a_subscriber_that_is_not_durable() -> None:
    loose = Delivery("bus", "events", effects="mailgate", subscriber="email", durable=False)
    assert outcome(delivered(("m1",), settled=("m1",)), "D9", loose) == "INCONCLUSIVE"
    assert outcome(delivered(), "D9", Delivery("bus", "events", effects="mailgate")) == "INCONCLUSIVE"


def test_d9_needs_a_message_published_while_the_subscriber_was_down() -> None:
    assert outcome(delivered(down=False), "D9") == "INCONCLUSIVE"


def test_d4_a_routing_key_orders_nothing_unless_it_is_declared() -> None:
    builder = HistoryBuilder()
    builder.node("email", "killed")
    for number, marker in enumerate(("m1", "m2")):
        builder.message(marker=marker, at=10 * number, channel="events", key="user.created")
        builder.stub_effect("mailgate", at=100 - 10 * number, marker=marker)
    assert outcome(builder, "D4") == "INCONCLUSIVE"
    assert outcome(builder, "D4", Delivery("bus", "events", effects="mailgate", ordered=True)) == "FAIL"


def test_d2_effects_of_another_channel_are_no_phantoms() -> None:
    builder = delivered(("m1", "m2", "m3", "other"))
    builder.message(marker="other", at=60, broker="keys", channel="activity")
    assert outcome(builder, "D2") == "PASS"


def test_d4_messages_of_different_keys_have_no_order() -> None:
    builder = HistoryBuilder()
    builder.node("email", "killed")
    for number, marker in enumerate(("m1", "m2")):
        builder.message(marker=marker, at=10 * number, channel="events", key=f"k{number}")
        builder.stub_effect("mailgate", at=100 - 10 * number, marker=marker)
    assert outcome(builder, "D4") == "INCONCLUSIVE"


def test_a_channel_that_was_silent_is_named() -> None:
    found = Delivery("bus", "other", effects="mailgate").check(delivered().build()).of("D1")
    assert found is not None
    assert "no message was seen on bus/other" in found.missing


@pytest.mark.parametrize("options", [{"effects": ""}, {"effects": "x", "mode": "often"}])
def test_a_declaration_that_names_nothing_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(ChaosError, match="must"):
        Delivery("bus", **options)  # type: ignore[arg-type]


def test_poison_is_owed_no_effect_and_what_stands_beside_it_is():
    builder = delivered(disturbed=False)
    builder.fault("PoisonMessage", "bus", lifted=800)
    builder.message(marker="p", at=60, channel="events", headers={"x-chaos-poison": "1"}, offset=9, partition=0)
    builder.message("settled", marker="p", at=900, channel="email.user.created")
    assert outcome(builder, "D1") == "PASS"
    assert outcome(builder, "D12") == "PASS"
    builder.message(marker="p2", at=70, channel="events", offset=10, partition=0)
    assert outcome(builder, "D1") == "FAIL"
