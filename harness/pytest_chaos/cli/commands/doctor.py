"""``pytest-chaos doctor``: what is on this machine."""

from __future__ import annotations

import os
import platform
from argparse import ArgumentParser, Namespace

from pytest_chaos.cli.table import parts_table
from pytest_chaos.parts import all_parts, cache_dir

NAME = "doctor"
HELP = "show which real parts are on this machine, their versions, and how to get the rest"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare ``--strict``."""
    parser.add_argument("--strict", action="store_true", help="exit with status 1 when a part is missing")


def run(args: Namespace) -> int:
    """Print the table; status 1 only with ``--strict`` and a missing part."""
    parts = [source.find(os.environ) for source in all_parts().values()]
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    print(f"Cache  {cache_dir(os.environ)}\n")
    print(parts_table(parts))
    missing = any(part.found is None for part in parts)
    return 1 if args.strict and missing else 0
