"""One load in a process of its own: ``python -m benchmarks.hop.load KIND PORT ...`` prints what it saw as JSON.

Connections each keep so many requests open. What is counted begins after a warm-up. ``--watch`` names a process whose
CPU time over the same seconds is told as well. ``python -m benchmarks.hop.load --serve KIND PORT`` is the other side.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import time
from collections.abc import Callable

import uvloop

from benchmarks.hop import clients, grpc
from benchmarks.hop.clients import Client, Tally
from benchmarks.hop.processes import cpu_s

WARM_S = 0.2
_READY_S = 10.0
_LOOK_S = 0.01


def client(kind: str) -> type[Client]:
    """Give the client of a kind; those of brokers are loaded on demand, since they need their libraries."""
    if kind in {"amqp", "kafka"}:
        from benchmarks.hop import brokers  # their encoders

        return {"amqp": brokers.Amqp, "kafka": brokers.Kafka}[kind]
    return {
        "http1": clients.Http1,
        "http1_1mib": clients.Http1Large,
        "grpc": grpc.Grpc,
        "grpc_traced": grpc.GrpcTraced,
        "resp": clients.Redis,
    }[kind]


SERVERS: dict[str, Callable[[], asyncio.Protocol]] = {
    "http1": clients.Http1Server,
    "http1_1mib": clients.Http1LargeServer,
    "grpc": grpc.GrpcServer,
    "grpc_traced": grpc.GrpcServer,
}


async def load(given: argparse.Namespace) -> dict[str, object]:
    """Ask for so many seconds, or until there have been so many answers."""
    loop, tally, kind = asyncio.get_running_loop(), Tally(), client(given.kind)
    made = []
    for number in range(given.connections):
        make = functools.partial(kind, kind.requests(number), given.depth, tally)
        made.append(await loop.create_connection(make, "127.0.0.1", given.port))
    await asyncio.wait_for(asyncio.gather(*(one.ready for _, one in made)), _READY_S)
    await asyncio.sleep(WARM_S)
    tally.times_ns.clear()
    before, cpu, begun = tally.total, cpu_s(given.watch), time.perf_counter()
    if given.requests:
        while tally.total < given.requests and not tally.wrong:
            await asyncio.sleep(_LOOK_S)
            del tally.times_ns[:-1000]
    else:
        await asyncio.sleep(given.seconds)
    seconds, cpu, count = time.perf_counter() - begun, cpu_s(given.watch) - cpu, tally.total - before
    times = sorted(tally.times_ns)
    tally.over = True
    for transport, _ in made:
        transport.abort()
    if tally.wrong or not count:
        raise SystemExit(f"{given.kind}: {tally.wrong or 'no answer came'}")
    return {
        "rate": count / seconds,
        "p50_us": times[len(times) // 2] / 1000,
        "p99_us": times[len(times) * 99 // 100] / 1000,
        "cpu_us": cpu * 1e6 / count,
    }


async def serve(kind: str, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(SERVERS[kind], "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("kind")
    options.add_argument("port", type=int)
    options.add_argument("--serve", action="store_true")
    options.add_argument("--connections", type=int, default=1)
    options.add_argument("--depth", type=int, default=1)
    options.add_argument("--seconds", type=float, default=1.0)
    options.add_argument("--requests", type=int, default=0)
    options.add_argument("--watch", type=int, default=0)
    given = options.parse_args()
    if given.serve:
        uvloop.run(serve(given.kind, given.port))
    else:
        try:
            print(json.dumps(uvloop.run(load(given))))
        except OSError as wrong:  # a TimeoutError is one
            raise SystemExit(f"{given.kind}: {str(wrong) or 'nobody was ready in time'}") from wrong


if __name__ == "__main__":
    main()
