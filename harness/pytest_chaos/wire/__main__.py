"""``python -m pytest_chaos.wire --control PATH --spool PATH --seed N``: runs until its last control client is gone."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pytest_chaos.wire.control import Control
from pytest_chaos.wire.ops import Ops
from pytest_chaos.wire.spool import Spool
from pytest_chaos.wire.world import World

_FIRST_CLIENT_S = 30.0
"""Whoever started wire and never came is dead."""
_ANSWER_S = 0.01
"""Time for the answer to ``quit`` to leave."""


def main(argv: list[str] | None = None) -> int:
    """Run wire; give the exit status."""
    options = _options(argv)
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 - where there is one

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(options))
    return asyncio.run(_serve(options))


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_chaos.wire", description="The request-aware proxy of pytest-chaos."
    )
    parser.add_argument("--control", type=Path, required=True, help="unix socket to take orders on")
    parser.add_argument("--spool", type=Path, required=True, help="file to append attempts, effects and hits to")
    parser.add_argument("--seed", type=int, default=0, help="what the draws (jitter) derive from")
    parser.add_argument("--ids-from", type=int, default=1, help="the number of the first attempt")
    return parser.parse_args(argv)


async def _serve(options: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    world = World(seed=options.seed, spool=Spool(options.spool), ids_from=options.ids_from)
    clients: set[Control] = set()

    def tell(event: dict[str, Any]) -> None:
        for client in clients:
            client.send(event)

    def leave() -> None:
        loop.call_later(_ANSWER_S, over.set)

    world.tell = tell
    ops = Ops(world, leave)
    loop.add_signal_handler(signal.SIGTERM, over.set)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for pytest; the keeper ends wire
    options.control.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        server = await loop.create_unix_server(lambda: Control(ops, clients, over.set), path=str(options.control))
    finally:
        os.umask(before)
    loop.call_later(_FIRST_CLIENT_S, lambda: None if clients else over.set())
    await over.wait()
    server.close()
    ops.shut_down()
    for client in list(clients):
        client.close()
    await asyncio.sleep(_ANSWER_S)  # lets what was just closed and reset be seen to be so
    world.spool.close()
    options.control.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
