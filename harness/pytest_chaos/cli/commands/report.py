"""``pytest-chaos report DIR``: render the report of an old run again, from its journal."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from pytest_chaos.reporting import JOURNAL, write_reports

NAME = "report"
HELP = "render report.html, junit.xml and traces.jaeger.json of an old run again, from its journal"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the run's folder, ``--out`` and ``--jaeger``."""
    parser.add_argument(
        "run", type=Path, metavar="DIR", help="the folder of a run (reports/latest, say), or its journal"
    )
    parser.add_argument("--out", type=Path, help="the folder to write into (default: that of the journal)")
    parser.add_argument(
        "--jaeger", default="", metavar="URL", help="address of a Jaeger that has the traces, for links"
    )


def run(args: Namespace) -> int:
    """Write the files and print their paths; raise ChaosError when there is no journal to read."""
    journal = args.run / JOURNAL if args.run.is_dir() else args.run
    for path in write_reports(journal, args.out or journal.parent, jaeger_url=args.jaeger):
        print(path)
    return 0
