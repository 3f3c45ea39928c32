"""The HTTP interface of payments: charge and refund by order, idempotent, and what is known of an order's money."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from services_under_test.common import correlation
from services_under_test.common.http_app import Refused, idempotency_key, json_object, text_field, whole_field
from services_under_test.common.http_client import HttpClient
from services_under_test.common.idempotency import Keys, KeyState, fingerprint
from services_under_test.common.runner import Built, Host
from services_under_test.payments.cashier import CHARGE_SCOPE, Cashier, answer
from services_under_test.payments.ledger import ChargeState, Ledger

_REPLAYED = {"idempotency-replayed": "true"}


class _Api:
    def __init__(self, host: Host, keys: Keys, ledger: Ledger, cashier: Cashier) -> None:
        self._store = host.store
        self._keys = keys
        self._ledger = ledger
        self._cashier = cashier

    async def charge(self, request: Request) -> JSONResponse:
        """POST /payments: charge once, however often the request comes."""
        payload = await json_object(request)
        order_id, amount_minor = text_field(payload, "orderId"), whole_field(payload, "amount_minor", least=1)
        key = idempotency_key(request)
        if not key:
            raise Refused(400, "bad_request", "Idempotency-Key is missing: a charge must be repeatable")
        if replay := self._claim(key, order_id, amount_minor):
            return replay
        async with self._cashier.alone_with(order_id):
            charge = await self._cashier.charge(order_id)
        status, body = answer(charge)
        return JSONResponse(body, status_code=status)

    async def refund(self, request: Request) -> JSONResponse:
        """POST /payments/refunds: give back what was charged; also right when nothing was."""
        payload = await json_object(request)
        order_id, amount_minor = text_field(payload, "orderId"), whole_field(payload, "amount_minor", least=1)
        async with self._cashier.alone_with(order_id):
            state = await self._cashier.refund(order_id, amount_minor)
        return JSONResponse({"orderId": order_id, "amount_minor": amount_minor, "state": state.value})

    async def show(self, request: Request) -> JSONResponse:
        """GET /payments/{orderId}: the charge and what became of it."""
        order_id = request.path_params["order_id"]
        charge = self._ledger.charge(order_id)
        if charge is None:
            raise Refused(404, "not_found", f"nothing is known of order {order_id}")
        refund = self._ledger.refund_state(order_id)
        return JSONResponse({**charge.view(), "refund": refund.value if refund else None})

    def _claim(self, key: str, order_id: str, amount_minor: int) -> JSONResponse | None:
        print_ = fingerprint({"orderId": order_id, "amount_minor": amount_minor})
        with self._store.transaction():
            claim = self._keys.claim(CHARGE_SCOPE, key, print_, order_id)
            if claim.state is KeyState.NEW:
                fence = self._ledger.charge(order_id)
                if fence is None:
                    self._ledger.begin_charge(
                        order_id, amount_minor, ChargeState.PENDING, correlation.current(), time.time()
                    )
                    return None
                self._keys.forget_key(CHARGE_SCOPE, key)
                if fence.state is ChargeState.CANCELLED:
                    status, body = answer(fence)
                    return JSONResponse(body, status_code=status)
                return JSONResponse(
                    {"error": "conflict", "detail": "the order has a charge under another key"}, status_code=409
                )
        if claim.state is KeyState.CLASH:
            raise Refused(422, "key_reused", "this Idempotency-Key came with another payload before")
        if claim.state is KeyState.DONE:
            return JSONResponse(claim.body, status_code=claim.status, headers=_REPLAYED)
        return None


def build(host: Host) -> Built:
    """Put the payments service together."""
    keys, ledger = Keys(host.store), Ledger(host.store)
    acquirer = HttpClient(host.env.required("ACQUIRER_URL"), strategies=host.strategies, telemetry=host.telemetry)
    cashier = Cashier(
        store=host.store,
        keys=keys,
        ledger=ledger,
        acquirer=acquirer,
        timeout_s=host.env.seconds("ACQUIRER_TIMEOUT_S", 4.0),
    )
    every_s, older_than_s = host.env.seconds("RESOLVE_PERIOD_S", 2.0), host.env.seconds("RESOLVE_AFTER_S", 5.0)
    api = _Api(host, keys, ledger, cashier)

    async def resolve() -> None:
        await cashier.resolve(older_than_s=0.0)
        while True:
            await asyncio.sleep(every_s)
            await cashier.resolve(older_than_s=older_than_s)

    async def start() -> None:
        host.background.keep("resolver", resolve)

    return Built(
        routes=[
            Route("/payments", api.charge, methods=["POST"]),
            Route("/payments/refunds", api.refund, methods=["POST"]),
            Route("/payments/{order_id}", api.show),
        ],
        effects=ledger.effects,
        start=start,
        stop=acquirer.close,
    )
