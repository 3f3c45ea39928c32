"""The command line: ``pytest-chaos COMMAND``. Each module of ``cli/commands`` is one command."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from pytest_chaos.errors import ChaosError

_SETUP_BROKEN = 2
_INTERRUPTED = 130


class Command(Protocol):
    """What each module of ``cli/commands`` offers."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do the work and give the exit status; raise ChaosError when the set-up is broken."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status: 2 for wrong usage or a broken set-up, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="pytest-chaos", description="Chaos tests for meshes of services.")
    choices = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands = {command.NAME: command for command in _commands()}
    for name, command in sorted(commands.items()):
        command.add_arguments(choices.add_parser(name, help=command.HELP, description=command.HELP))
    args = parser.parse_args(argv)
    try:
        status = commands[args.command].run(args)
        sys.stdout.flush()
    except ChaosError as error:
        print(f"pytest-chaos {args.command}: {error}", file=sys.stderr)
        return _SETUP_BROKEN
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read has read enough; what is left must not be flushed to it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _commands() -> list[Command]:
    room = importlib.import_module("pytest_chaos.cli.commands")
    names = [found.name for found in pkgutil.iter_modules(room.__path__) if not found.name.startswith("_")]
    return [cast("Command", importlib.import_module(f"pytest_chaos.cli.commands.{name}")) for name in names]
