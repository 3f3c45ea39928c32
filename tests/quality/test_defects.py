"""Every planted defect is found by its scenario, by a rule that it breaks, and nothing else fails without a reason.

The stack stays warm: for each defect the defective service alone is restarted with it, and its scenario of ``chaos/``
is run.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_chaos import Chaos, Violation
from services_under_test.defects import Defect, find, names

CHAOS = Path(__file__).parents[2] / "chaos"

SCENARIOS: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "REST-2": ("test_idempotency", "test_a_lost_answer_to_users_places_one_order", ()),
    "RT-2": ("test_retry", "test_a_refused_payment_is_not_retried", ()),
    "RT-4": ("test_retry", "test_retries_respect_the_total_deadline", ()),
    "CB-1": ("test_breaker", "test_a_failed_probe_opens_it_again", ()),
    "CB-2": ("test_breaker", "test_half_open_admits_one_probe_at_a_time", ()),
    "GRPC-1": ("test_timeout", "test_grpc_calls_carry_a_deadline_and_end_by_it", ()),
    "SAGA-1": ("test_saga", "test_a_refund_that_fails_at_first_is_tried_until_it_succeeds", ()),
    "SAGA-3": ("test_saga", "test_a_payment_whose_outcome_is_unknown_is_not_forgotten", ()),
    "CORR-1": ("test_correlation", "test_one_id_on_every_carrier", ()),
    "RMQ-4": ("test_rabbitmq", "test_what_is_published_while_the_subscriber_is_away_comes_afterwards", ()),
    "RMQ-11": ("test_rabbitmq", "test_a_consumer_killed_between_effect_and_ack_sends_one_mail", ()),
    "KFK-1": ("test_kafka", "test_a_handler_whose_effect_fails_is_not_committed_past", ()),
    "RR-1": ("test_fire_and_forget", "test_notifications_that_hang_do_not_matter_to_new_users", ()),
}
DEFECTS = {name: find(name) for name in names()}
# A defect of the common library is planted where its scenario begins; the others stay right.
EVERYWHERE = "users,orders"


def _planted(defect: Defect) -> Any:
    services = EVERYWHERE if defect.service == "all" else defect.service
    planted = {service: {"SHOP_DEFECTS": defect.id} for service in services.split(",")}
    return pytest.param(
        defect, id=defect.id, marks=pytest.mark.chaos(env=planted, needs=("kafka", "rabbitmq", "redis"))
    )


def _scenario(defect: Defect) -> Callable[[Chaos], None]:
    module, name, arguments = SCENARIOS[defect.id]
    spec = importlib.util.spec_from_file_location(f"scenario_{module}", CHAOS / f"{module}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return lambda chaos: getattr(loaded, name)(chaos, *arguments)


@pytest.mark.parametrize("defect", [_planted(defect) for defect in DEFECTS.values()])
def test_a_planted_defect_is_found(chaos: Chaos, defect: Defect) -> None:
    with pytest.raises(Violation) as found:
        _scenario(defect)(chaos)
    failures = chaos.judgements[-1].failures
    broken = {failure.rule for failure in failures}
    assert broken & set(defect.rules), f"{defect.id} must break one of {defect.rules}; broken: {broken}"
    unexplained = broken - set(defect.rules) - set(defect.also)
    assert not unexplained, f"{defect.id} also broke {unexplained}, and its file gives no reason for that"
    proof = next(failure for failure in failures if failure.rule in defect.rules)
    message = str(found.value)
    assert proof.rule in message
    assert proof.witness
    assert proof.blame
    assert any(fault.hits and fault.kind in message for fault in chaos.history().faults)


def test_every_defect_has_its_scenario() -> None:
    assert set(SCENARIOS) == set(DEFECTS)
