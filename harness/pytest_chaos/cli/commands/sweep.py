"""``pytest-chaos sweep``: remove what dead runs left behind."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

NAME = "sweep"
HELP = "remove processes and folders that dead runs left behind; live runs are not touched"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare nothing: what is swept is decided by who is dead."""
    del parser


def run(args: Namespace) -> int:
    """Sweep, say what was found, and give status 1 when something stayed."""
    from pytest_chaos.keeper.sweep import sweep_now  # noqa: PLC0415 - only this command needs it

    del args
    swept = sweep_now()
    for one in swept:
        print(f"run {one.run_id}: {one.killed} processes killed, folder {'left' if one.left else 'removed'}")
        for left in one.left:
            print(f"  could not be removed: {left}")
    if not swept:
        print("nothing to sweep")
    return 1 if any(one.left for one in swept) else 0
