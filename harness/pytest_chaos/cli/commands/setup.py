"""``pytest-chaos setup [PART...]``: get the real parts that are missing."""

from __future__ import annotations

import functools
import os
from argparse import ArgumentParser, Namespace

from pytest_chaos.cli.table import parts_table
from pytest_chaos.errors import ChaosError, PartMissing
from pytest_chaos.parts import Source, all_parts

NAME = "setup"
HELP = "fetch the real parts into the per-user cache, or install them as root; what is there stays"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the parts and ``--strict``."""
    parser.add_argument("part", nargs="*", help="which parts (default: what local processes need)")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 when a part cannot be had")


def run(args: Namespace) -> int:
    """Fetch each part, go on when one cannot be had, and print the table; raise ChaosError for an unknown name."""
    chosen = _choose(args.part)
    refused: list[str] = []
    for name, source in chosen.items():
        try:
            source.fetch(os.environ, functools.partial(_say, name))
        except PartMissing as why:
            refused.append(name)
            _say(name, f"cannot be had here: {why}")
    print(parts_table([source.find(os.environ) for source in chosen.values()]))
    if refused:
        print(f"\nGoing on without: {', '.join(refused)}. Tests that need them skip, with the reason.")
    return 1 if args.strict and refused else 0


def _choose(names: list[str]) -> dict[str, Source]:
    known = all_parts()
    if unknown := sorted(set(names) - set(known)):
        msg = f"no part is called {', '.join(unknown)}; known: {', '.join(known)}"
        raise ChaosError(msg)
    return {name: source for name, source in known.items() if name in names or (not names and source.BY_DEFAULT)}


def _say(name: str, text: str) -> None:
    print(f"{name}: {text}", flush=True)
