"""The gRPC interface of inventory: reserve, release and confirm by order id."""

from __future__ import annotations

from typing import Any

import grpc

from protos import inventory_pb2, inventory_pb2_grpc
from services_under_test.common.rpc import RpcRefused, served
from services_under_test.common.runner import Built, Host
from services_under_test.inventory.stock import Refusal, ReservationState, Stock

_STATES = {
    ReservationState.RESERVED: inventory_pb2.RESERVED,
    ReservationState.CONFIRMED: inventory_pb2.CONFIRMED,
    ReservationState.RELEASED: inventory_pb2.RELEASED,
}
_CODES = {"clash": grpc.StatusCode.ALREADY_EXISTS}


class _Inventory(inventory_pb2_grpc.InventoryServiceServicer):
    def __init__(self, stock: Stock) -> None:
        self._stock = stock

    @served
    async def Reserve(self, request: inventory_pb2.ReserveRequest, _: Any) -> inventory_pb2.ReservationReply:  # noqa: N802
        """Hold stock for an order."""
        items: dict[str, int] = {}
        for item in request.items:
            if item.quantity < 1 or not item.product_id:
                raise RpcRefused(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"items: {item.quantity} of {item.product_id!r} cannot be reserved",
                )
            items[item.product_id] = items.get(item.product_id, 0) + item.quantity
        if not items:
            raise RpcRefused(grpc.StatusCode.INVALID_ARGUMENT, "items: an order needs at least one")
        return self._step(request.order_id, lambda: self._stock.reserve(request.order_id, items))

    @served
    async def Release(self, request: inventory_pb2.OrderRequest, _: Any) -> inventory_pb2.ReservationReply:  # noqa: N802
        """Give back what an order holds."""
        return self._step(request.order_id, lambda: self._stock.release(request.order_id))

    @served
    async def Confirm(self, request: inventory_pb2.OrderRequest, _: Any) -> inventory_pb2.ReservationReply:  # noqa: N802
        """Turn a reservation into a sale."""
        return self._step(request.order_id, lambda: self._stock.confirm(request.order_id))

    @staticmethod
    def _step(order_id: str, step: Any) -> inventory_pb2.ReservationReply:
        if not order_id:
            raise RpcRefused(grpc.StatusCode.INVALID_ARGUMENT, "order_id is empty")
        try:
            state = step()
        except Refusal as refusal:
            code = _CODES.get(refusal.reason, grpc.StatusCode.FAILED_PRECONDITION)
            raise RpcRefused(code, f"{refusal.reason}: {refusal}") from None
        return inventory_pb2.ReservationReply(order_id=order_id, state=_STATES[state])


def build(host: Host) -> Built:
    """Put the inventory service together; ``STOCK`` is the initial stock as JSON, used for products not known yet."""
    stock = Stock(host.store, host.env.numbers("STOCK", {"book": 1000, "lamp": 1000, "rare": 1}))
    return Built(
        routes=[],
        effects=stock.effects,
        rpc=lambda server: inventory_pb2_grpc.add_InventoryServiceServicer_to_server(_Inventory(stock), server),  # type: ignore[no-untyped-call]
    )
