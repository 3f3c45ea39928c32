"""The laws of payments.

Money moves at most once an order, an unknown outcome stays unknown, a refund fences off what comes late.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.shop.kit import Service, Stub, eventually

_ids = itertools.count(1)


@pytest.fixture(scope="module")
def _one_till(service: Callable[..., Service], stub: Callable[..., Stub]) -> tuple[Service, Stub]:
    acquirer = stub()
    return service("payments", ACQUIRER_URL=acquirer.url, ACQUIRER_TIMEOUT_S="1").start(), acquirer


@pytest.fixture
def till(_one_till: tuple[Service, Stub]) -> tuple[Service, Stub]:
    """Give payments and its acquirer, with nothing wrong and nothing seen."""
    _one_till[1].reset()
    return _one_till


@pytest.fixture
def pay() -> dict[str, Any]:
    """Give a payment for an order of its own."""
    return {"orderId": f"o{next(_ids)}", "amount_minor": 700}


def _charge(payments: Service, order_id: str) -> dict[str, Any]:
    return next(row for row in payments.rows("charges") if row["key"] == order_id)


def test_a_key_is_one_charge_with_one_answer(till: tuple[Service, Stub], pay: dict[str, Any]) -> None:
    payments, acquirer = till
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: payments.post("/payments", pay, key=pay["orderId"]), range(8)))
    assert {(answer.status_code, answer.text) for answer in answers} == {(201, answers[0].text)}
    assert len(acquirer.requests) == 1
    assert payments.post("/payments", {**pay, "amount_minor": 701}, key=pay["orderId"]).status_code == 422
    assert payments.post("/payments", pay, key=f"other-{pay['orderId']}").status_code == 409
    assert payments.post("/payments", pay).status_code == 400


def test_another_payload_is_refused_while_the_first_is_busy(till: tuple[Service, Stub], pay: dict[str, Any]) -> None:
    payments, acquirer = till
    busy, free = threading.Event(), threading.Event()
    acquirer.after = lambda _: (busy.set(), free.wait(5))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(payments.post, "/payments", pay, key=pay["orderId"])
        assert busy.wait(5)
        assert payments.post("/payments", {**pay, "amount_minor": 701}, key=pay["orderId"]).status_code == 422
        free.set()
        assert first.result().status_code == 201


def test_a_refund_before_the_charge_fences_it_off(till: tuple[Service, Stub], pay: dict[str, Any]) -> None:
    payments, acquirer = till
    assert payments.post("/payments/refunds", pay).json()["state"] == "EMPTY"
    assert payments.post("/payments", pay, key=pay["orderId"]).status_code == 409
    assert acquirer.requests == []


def test_a_charge_of_unknown_outcome_is_made_certain_and_then_refunded(
    till: tuple[Service, Stub], pay: dict[str, Any]
) -> None:
    payments, acquirer = till
    acquirer.lose = lambda request: request.number == 0
    assert payments.post("/payments", pay, key=pay["orderId"]).status_code == 504
    assert _charge(payments, pay["orderId"])["state"] == "PENDING"
    assert payments.post("/payments/refunds", pay).json()["state"] == "REFUNDED"
    assert [(request.path, request.key) for request in acquirer.requests] == [
        ("/charges", f"charge-{pay['orderId']}"),
        ("/charges", f"charge-{pay['orderId']}"),
        ("/refunds", f"refund-{pay['orderId']}"),
    ]
    assert payments.post("/payments/refunds", pay).json()["state"] == "REFUNDED"
    assert acquirer.new_effects() == 2
    assert httpx.get(f"{payments.url}/payments/{pay['orderId']}").json()["refund"] == "REFUNDED"


def test_a_charge_that_was_never_sent_costs_nobody_anything(
    service: Callable[..., Service], pay: dict[str, Any]
) -> None:
    payments = service("payments", ACQUIRER_URL="http://127.0.0.1:9").start()
    assert payments.post("/payments", pay, key=pay["orderId"]).status_code == 503
    assert payments.post("/payments/refunds", pay).json()["state"] == "EMPTY"
    assert payments.post("/payments", pay, key=pay["orderId"]).status_code == 409


def test_a_kill_while_the_acquirer_works_is_resolved_at_the_next_start(
    till: tuple[Service, Stub], pay: dict[str, Any]
) -> None:
    payments, acquirer = till

    def kill(request: Any) -> None:
        if request.number == 0:
            payments.kill()

    acquirer.after = kill
    try:
        payments.post("/payments", pay, key=pay["orderId"])
        raise AssertionError
    except httpx.TransportError:
        payments.start()
    eventually(lambda: _charge(payments, pay["orderId"])["state"] == "CHARGED")
    assert payments.post("/payments", pay, key=pay["orderId"]).status_code == 201
    assert acquirer.new_effects() == 1
