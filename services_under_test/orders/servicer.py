"""The gRPC interface of orders: the same desk, in the words of protos/order.proto."""

from __future__ import annotations

from typing import Any

import grpc

from protos import order_pb2, order_pb2_grpc
from services_under_test.common.rpc import RpcRefused, served
from services_under_test.orders.book import Item, Order, OrderState
from services_under_test.orders.desk import Answer, Desk, Draft

_STATUSES = {
    OrderState.PENDING: order_pb2.PENDING,
    OrderState.CONFIRMED: order_pb2.CONFIRMED,
    OrderState.COMPENSATING: order_pb2.PENDING,
    OrderState.COMPENSATED: order_pb2.CANCELLED,
}


class Orders(order_pb2_grpc.OrderServiceServicer):
    """OrderService.

    A definite refusal is FAILED_PRECONDITION, "not now" UNAVAILABLE, "not known yet" DEADLINE_EXCEEDED.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @served
    async def GetUserOrders(self, request: order_pb2.GetUserOrdersRequest, _: Any) -> order_pb2.GetUserOrdersResponse:  # noqa: N802
        """List a user's orders."""
        return order_pb2.GetUserOrdersResponse(
            orders=[_message(order) for order in self._desk.orders_of(request.user_id)]
        )

    @served
    async def CreateOrder(self, request: order_pb2.CreateOrderRequest, _: Any) -> order_pb2.CreateOrderResponse:  # noqa: N802
        """Place an order, once for each idempotency key."""
        if not request.user_id or not request.items:
            raise RpcRefused(grpc.StatusCode.INVALID_ARGUMENT, "user_id and items must not be empty")
        draft = Draft(
            user_id=request.user_id,
            items=tuple(_item(item) for item in request.items),
            marker=request.marker,
            scope=f"CreateOrder {request.user_id}",
            key=request.idempotency_key,
            bounded=True,
        )
        answer = await self._desk.place(draft)
        if answer.status != 201:
            raise _refusal(answer)
        order = self._desk.find(str(answer.body["data"]["id"]))
        assert order is not None
        return order_pb2.CreateOrderResponse(order=_message(order))


def _refusal(answer: Answer) -> RpcRefused:
    reason = str(answer.body.get("error", ""))
    detail = f"{reason}: {answer.body.get('detail') or answer.body.get('data') or ''}"
    if answer.retry_after_s is not None:
        return RpcRefused(grpc.StatusCode.UNAVAILABLE, detail, ("retry-after", str(answer.retry_after_s)))
    if answer.status in (402, 409):
        return RpcRefused(grpc.StatusCode.FAILED_PRECONDITION, detail)
    if answer.status == 422:
        return RpcRefused(grpc.StatusCode.INVALID_ARGUMENT, detail)
    return RpcRefused(grpc.StatusCode.DEADLINE_EXCEEDED if answer.status == 503 else grpc.StatusCode.INTERNAL, detail)


def _item(item: order_pb2.OrderItem) -> Item:
    price_minor = item.price_minor or round(item.price * 100)
    if item.quantity < 1 or price_minor < 1 or not item.product_id:
        raise RpcRefused(grpc.StatusCode.INVALID_ARGUMENT, "items: product_id, quantity and price_minor must be given")
    return Item(product_id=item.product_id, quantity=item.quantity, price_minor=price_minor)


def _message(order: Order) -> order_pb2.Order:
    items = [
        order_pb2.OrderItem(
            product_id=item.product_id,
            quantity=item.quantity,
            price=item.price_minor / 100,
            price_minor=item.price_minor,
        )
        for item in order.items
    ]
    return order_pb2.Order(
        id=order.id,
        user_id=order.user_id,
        items=items,
        status=_STATUSES[order.state],
        total_amount=order.total_minor / 100,
        total_minor=order.total_minor,
    )
