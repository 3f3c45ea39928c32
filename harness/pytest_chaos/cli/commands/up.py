"""``pytest-chaos up``: the stack in the foreground, to try by hand."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace

NAME = "up"
HELP = "bring the stack of chaos_topology up, say where everything is, and take it down at Ctrl-C"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the folder whose conftest.py says what runs, and how it is to run."""
    parser.add_argument("folder", nargs="?", default=".", help="where the conftest.py is (default: here)")
    parser.add_argument("--runtime", help="as pytest's --chaos-runtime")
    parser.add_argument("--injector", help="as pytest's --chaos-injector")


def run(args: Namespace) -> int:
    """Become a pytest that stays until Ctrl-C or SIGTERM: exit 0 when all is taken down, 1 when it did not come up."""
    options = [
        f"--chaos-{name}={value}" for name in ("runtime", "injector") if (value := getattr(args, name)) is not None
    ]
    quiet = ["-qq", "--no-header", "-rN", "-p", "no:cacheprovider", "--disable-warnings"]
    command = [sys.executable, "-P", "-m", "pytest", args.folder, "--chaos-up", *options, *quiet]
    # In place of this process: signals reach it, and pytest finds nothing imported that it wants to import itself.
    os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted
