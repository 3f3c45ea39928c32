"""``python -m pytest_chaos.keeper``: one run's keeper, detached from whoever started it."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import traceback
from pathlib import Path

from pytest_chaos.keeper.home import RunHome, write_record
from pytest_chaos.keeper.keeper import Keeper
from pytest_chaos.runtimes.base import NODE_MARK, RUN_MARK
from pytest_chaos.runtimes.reaper import Reaper, become_subreaper


def main(arguments: list[str] | None = None) -> int:
    """Keep one run until its last lease is gone; exit 0 when everything was removed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m pytest_chaos.keeper", description=__doc__)
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--lease-fd", type=int, help="a connected Unix socket: the first client's lease")
    parser.add_argument("--project", type=Path, help="whose stack is kept, with --keep")
    parser.add_argument("--keep", action="store_true", help="stay when the last lease is gone")
    parser.add_argument("--idle-s", type=float, default=1800.0, help="how long to stay without a lease, in seconds")
    parser.add_argument("--foreground", action="store_true", help="stay a child of the caller")
    options = parser.parse_args(arguments)
    if not options.foreground and os.fork():
        # The caller waits for this process only; its child belongs to nobody and outlives a killed caller.
        os._exit(0)
    for mark in (RUN_MARK, NODE_MARK):
        os.environ.pop(mark, None)
    # The receiver's gRPC has threads; its fork handlers would only complain about nodes that are started beside them.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    return asyncio.run(_keep(options))


async def _keep(options: argparse.Namespace) -> int:
    run = RunHome(run_id=options.run_id, folder=options.run_dir)
    become_subreaper()
    reaper = Reaper()
    reaper.attach()
    keeper = Keeper(run, reaper, keep=options.keep, project=options.project, idle_s=options.idle_s)
    loop = asyncio.get_running_loop()
    term = asyncio.Event()
    # Handlers, not SIG_IGN: an ignored signal stays ignored in every node that is started.
    loop.add_signal_handler(signal.SIGTERM, term.set)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(ignored, lambda: None)
    write_record(run)
    left: list[str] = []
    sweeping: asyncio.Task[None] | None = None
    try:
        await keeper.leases.listen(run.socket)
        if options.lease_fd is not None:
            await keeper.leases.adopt(options.lease_fd)
        sweeping = asyncio.create_task(keeper.begin(), name="sweep")
        ends = [asyncio.create_task(keeper.finished.wait()), asyncio.create_task(term.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    except Exception:  # noqa: BLE001 - whatever broke, the stack must go
        traceback.print_exc(file=sys.stderr)
    finally:
        left = await keeper.end()
        if sweeping is not None:
            await asyncio.gather(sweeping, return_exceptions=True)
        await keeper.leases.close()
        reaper.detach()
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
