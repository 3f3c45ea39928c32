"""``pytest-chaos faults``: the catalogue, and one of it with its fields."""

from __future__ import annotations

import inspect
import textwrap
from argparse import ArgumentParser, Namespace

from pytest_chaos.errors import FaultError
from pytest_chaos.faults import OnRequests, catalogue
from pytest_chaos.model.fault import Fault
from pytest_chaos.testing import described

NAME = "faults"
HELP = "list the faults, each with one line; with a name: what it does, its fields and their ranges"
_WIDTH = 80


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the name."""
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="a fault, for example AnswerLost")


def run(args: Namespace) -> int:
    """Print the list, or one fault; raise ChaosError listing the names for one that there is not."""
    print("\n".join(described.listed(_WIDTH) if not args.name else _one(catalogue.get(args.name))))
    return 0


def _one(kind: type[Fault]) -> list[str]:
    lines = [f"from pytest_chaos import {kind.__name__}", ""]
    for paragraph in inspect.cleandoc(kind.__doc__ or "").replace("``", "`").split("\n\n"):
        lines += [*textwrap.wrap(paragraph, _WIDTH, break_on_hyphens=False), ""]
    lines += ["Fields:", *_fields(described.own_fields(kind)), ""]
    if issubclass(kind, OnRequests):
        lines += ["Fields of every fault on requests:", *_fields(described.shared_fields()), ""]
    return lines + _examples(kind)


def _fields(found: list[described.Field]) -> list[str]:
    lines: list[str] = []
    for one in found:
        default = f"default {one.default}" if one.default else "must be given"
        lines += textwrap.wrap(
            f"{one.name}: {one.takes}; {default}", _WIDTH, initial_indent="  ", subsequent_indent="      "
        )
    return lines


def _examples(kind: type[Fault]) -> list[str]:
    if why := described.why_no_row(kind):
        return [f"No example: {why}"]
    lines = ["Examples, who carries them out, and on which protocols:"]
    for example in described.examples(kind):
        try:
            fault = example.at(described.Place(words={word: word for word in described.WORDS}))
            acts = f"{' and '.join(described.carriers(fault))}; {', '.join(described.protocols(fault))}"
        except FaultError as wrong:
            acts = str(wrong)
        lines += [f"  {example.label}", *textwrap.wrap(acts, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)]
    return lines
