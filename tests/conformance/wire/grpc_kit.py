"""A gRPC service and its driving, through a link of a wire process."""

from __future__ import annotations

import asyncio
import time

import grpc

LINK = "orders -> payments"
CALL = "/shop.Payments/Charge"
QUICK = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), ("grpc.initial_reconnect_backoff_ms", 50))


class Service:
    """A gRPC server whose methods are told by name; ``asked`` is what it did."""

    def __init__(self):
        self.asked = []
        self.delay_s = 0.0
        self.cancelled = 0

    async def unary(self, request, context):
        self.asked.append(request)
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if request == b"fail":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: such thing")
        await context.send_initial_metadata((("x-correlation-id", "c9"),))
        return request.upper()

    async def chat(self, requests, context):
        async for request in requests:
            self.asked.append(request)
            yield request.upper()

    async def sum(self, requests, context):
        parts = [request async for request in requests]
        self.asked += parts
        return b"".join(parts)

    async def flood(self, request, context):
        for number in range(int(request)):
            yield b"%06d" % number * 5000

    def service(self, details):
        method = details.method.rpartition("/")[2]
        if method == "Chat":
            return grpc.stream_stream_rpc_method_handler(self.chat)
        if method == "Sum":
            return grpc.stream_unary_rpc_method_handler(self.sum)
        if method == "Flood":
            return grpc.unary_stream_rpc_method_handler(self.flood)
        return grpc.unary_unary_rpc_method_handler(self.unary)


def run(wire, scenario, **link):
    """Run ``scenario(service, channel)`` with the channel going through a link to the service."""

    async def main():
        service = Service()
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([service])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            link.setdefault("upstream", f"127.0.0.1:{port}")
            through = wire.link(**link)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{through}", options=QUICK) as channel:
                return await scenario(service, channel)
        finally:
            await server.stop(0)

    return asyncio.run(asyncio.wait_for(main(), 30))


async def charge(channel, request=b"x", timeout=5.0, metadata=(), **options):  # noqa: ASYNC109 - the call's own deadline
    return await channel.unary_unary(CALL)(request, timeout=timeout, metadata=metadata, **options)


async def until(condition, within_s=5.0):
    """Wait until it holds; the other side is another process, or grpcio's own threads."""
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert condition()


async def code(channel, request=b"x", **options):
    try:
        await charge(channel, request, **options)
    except grpc.aio.AioRpcError as wrong:
        return wrong.code().name
    return "OK"
