"""Writes docs/faults.md anew, or holds a run against it: ``python -m tests.conformance.table [NAME ...]``.

Without names: every fault of the catalogue. Status 1: something was seen that the page does not say (``--check``), or a
fault did nothing where it claims to act. Status 3: a real part is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
import time
from pathlib import Path

from pytest_chaos.errors import PartMissing
from tests.conformance.table import page
from tests.conformance.table.observe import NOT_HIT, agrees, merged, observe_all, tasks
from tests.conformance.table.stack import SERVERS, Stack

EACH = 2
ALWAYS = {("Refuse", "a bare socket"), ("AnswerLost", "httpx"), ("ResetConnections", "a bare socket")}
TRIES = 2


def sample(wanted):
    """Choose the part that CI repeats: of each fault the same few tasks on every run, and what must not be missing."""
    chosen = []
    for name in sorted({task.example.kind.__name__ for task in wanted}):
        mine = [task for task in wanted if task.example.kind.__name__ == name]
        # A broker takes seconds to come back; a server of ours does not.
        cheap = [task for task in mine if not task.alone or task.clients[0].node in SERVERS]
        cheap = sorted(cheap or mine, key=_scattered)
        some = cheap[: 1 if cheap[0].alone else EACH]
        chosen += [task for task in cheap if task in some or (name, task.clients[0].name) in ALWAYS]
    return chosen


def _scattered(task):
    return hashlib.blake2b(f"{task.example.label} {task.engine} {task.clients[0].name}".encode()).hexdigest()


def check(stack, wanted, said, tell):
    """Give what was seen otherwise than the page says, each tried again by itself: a loaded machine is no news."""
    left, news, wrong = wanted, {}, {}
    for _ in range(TRIES):
        seen, wrong = observe_all(stack, left, tell)
        news = {key: cell for key, cell in seen.items() if key not in said or not agrees(cell, said[key])}
        left = [task for task in left if any(key in news or key in wrong for key in task.names())]
        if not left:
            break
    return news, wrong


def write(stack, wanted, said, args, tell):
    """Observe, and write the page; what the page said before stays beside it, since it was seen as well."""
    rounds, wrong, fresh = [], {}, {}
    known = {} if args.fresh else {key: cell for key, cell in said.items() if NOT_HIT not in cell.open + cell.new}
    others = {key: cell for key, cell in said.items() if args.names and key.fault not in args.names}
    for _ in range(args.rounds):
        seen, failed = observe_all(stack, wanted, tell)
        rounds.append(seen)
        wrong.update(failed)
        fresh = merged(*rounds)
        kept = merged(fresh, {key: cell for key, cell in known.items() if key in fresh})
        # After each round: one that is broken off leaves what the rounds before it saw.
        args.out.write_text(page.render({**others, **kept}))
    news = {key: cell for key, cell in fresh.items() if key not in said or not agrees(cell, said[key])}
    return news, wrong


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.table", description=__doc__)
    parser.add_argument("names", nargs="*", help="faults; all of the catalogue when none is named")
    parser.add_argument("--check", action="store_true", help="write nothing, hold what is seen against the page")
    parser.add_argument("--sample", action="store_true", help="only the part that CI repeats")
    parser.add_argument("--rounds", type=int, default=1, help="how often everything is observed")
    parser.add_argument("--fresh", action="store_true", help="forget what the page says now")
    parser.add_argument("--verbose", action="store_true", help="print a line for each observation")
    parser.add_argument("--out", type=Path, default=page.PAGE, help="where the page is written")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    wanted = tasks(set(args.names))
    wanted = sample(wanted) if args.sample else wanted
    said = page.parse(page.PAGE.read_text()) if page.PAGE.exists() else {}
    began = time.monotonic()

    def tell(number, of, task, took_s):
        if args.verbose:
            who = ", ".join(client.name for client in task.clients)
            print(f"{number}/{of} {took_s:.1f} s: {task.example.label} by {task.engine}, {who}", file=sys.stderr)

    try:
        stack = Stack(wanted)
    except PartMissing as missing:
        print(missing)
        return 3
    try:
        news, wrong = check(stack, wanted, said, tell) if args.check else write(stack, wanted, said, args, tell)
    finally:
        stack.close()
    for key, cell in sorted(news.items()):
        print(f"{key.example} by {key.engine}, {key.client}: seen {cell}; the page: {said.get(key, 'nothing')}")
    for key, why in sorted(wrong.items()):
        print(f"{key.example} by {key.engine}, {key.client}: {why}")
    print(f"{sum(len(task.clients) for task in wanted)} observations in {time.monotonic() - began:.0f} s")
    idle = [key for key, cell in news.items() if NOT_HIT in cell.open]
    for key in sorted(idle):
        print(f"NOT HIT: {key.example} by {key.engine} claims {key.client}, and had nothing to act on there")
    return 1 if wrong or idle or (args.check and news) else 0


if __name__ == "__main__":
    sys.exit(main())
