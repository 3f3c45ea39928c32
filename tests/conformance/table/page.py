"""docs/faults.md: written from what was seen, and read back: the page itself is what later runs are held against."""

from __future__ import annotations

import re

from pytest_chaos.faults import OnRequests, catalogue
from pytest_chaos.testing import described
from tests.conformance.table.observe import Cell, Key
from tests.conformance.table.stack import CLIENTS, ENGINES, ROOT

PAGE = ROOT / "docs" / "faults.md"
_ORDER = {client.name: number for number, client in enumerate(CLIENTS)}
_LONG = "| client | on an open connection | work | on a new connection | work |"
_SHORT = "| client | sees | work |"
_EXAMPLE = re.compile(r"`(.+)`, by (.+):")
_BY = re.compile(r"(.+?)(?: by (wire|Toxiproxy))?\Z")

HEAD = """# Faults

<!-- Written by `make conformance` from the catalogue and from what was seen; edit the faults or the observation. -->

Every fault of the catalogue: what it does, what its fields take, and what client libraries see of it. The tables are
observations on real servers and brokers, made through the harness as a test makes them; a test in CI repeats a part of
them, `make conformance` all. `pytest-chaos faults` lists the same catalogue, `pytest-chaos faults NAME` one of it.

How to read a table:

* Above it stands the example, without its link or node, and who carried it out. Where wire and Toxiproxy differ, a row
  says whose it is.
* *On an open connection*: the client had made a call on it before the fault came. *On a new connection*: a client that
  was made under the fault. Where both look alike, one column says it.
* What a client sees is the exception's class or the gRPC status. **answered**: as without a fault (perhaps late);
  **received**: a consumer was given its message; "A or B": both were seen, on different runs.
* **work** is how often the server did the work of that one call by the time the fault was lifted and all was quiet: for
  publishers the message at the broker, for consumers its acknowledgement (Kafka: the commit).
* Every client has a time limit of 1.5 s (aiokafka as a whole: 3 s) and no retries of its own. Where a connection that
  has ended is noticed before it is used, a client makes another one and says nothing.
* A client that is not in a table is one that the fault does not act on. "refused": it cannot be installed there, and
  says why.
"""


def render(seen):
    """Write the page."""
    parts = [HEAD, "## Fields of every fault on requests\n", _first_sentence(OnRequests), "", *_fields_table(None), ""]
    for family, names in described.families().items():
        parts += [f"## {family.capitalize()}\n", f"{described.about(family)}.".replace("..", "."), ""]
        for name in names:
            parts += [*_fault(catalogue.get(name), {key: cell for key, cell in seen.items() if key.fault == name}), ""]
    return "\n".join(parts).rstrip() + "\n"


def parse(text):
    """Read what was seen back from the page."""
    seen: dict[Key, Cell] = {}
    fault = example = ""
    engines: tuple[str, ...] = ()
    short = False
    for line in text.splitlines():
        if line.startswith("### "):
            fault, example = line[4:], ""
        elif found := _EXAMPLE.fullmatch(line):
            example, engines = found[1], tuple(found[2].split(" and by "))
        elif line in {_LONG, _SHORT}:
            short = line == _SHORT
        elif example and line.startswith("| ") and not line.startswith("|--"):
            who, *rest = (part.strip() for part in line.strip("|").split(" | "))
            cell = Cell(rest[0], rest[1], rest[0], rest[1]) if short else Cell(*rest)
            for label in who.split(", "):
                client, by = _BY.fullmatch(label).groups()
                seen.update({Key(fault, example, engine, client): cell for engine in ((by,) if by else engines)})
    return seen


def _fault(kind, seen):
    yield f"### {kind.__name__}\n"
    yield f"{_first_sentence(kind)}\n"
    yield from _fields_table(kind)
    if issubclass(kind, OnRequests):
        yield "\nand those of every fault on requests."
    if why := described.why_no_row(kind):
        yield f"\n*No table: {why.rstrip('.')}.*"
        return
    for example in described.examples(kind):
        cells = {key: cell for key, cell in seen.items() if key.example == example.label}
        if cells:
            yield from _table(example.label, cells)


def _first_sentence(kind):
    return described.sentence(kind.__doc__)


def _fields_table(kind):
    yield "| field | takes | default |"
    yield "|---|---|---|"
    for one in described.shared_fields() if kind is None else described.own_fields(kind):
        yield f"| `{one.name}` | {one.takes} | {f'`{one.default}`' if one.default else 'must be given'} |"


def _table(label, cells):
    engines = sorted({key.engine for key in cells}, key=lambda name: ENGINES.index(name) if name in ENGINES else -1)
    yield f"\n`{label}`, by {' and by '.join(engines)}:\n"
    rows: dict[Cell, list[str]] = {}
    for client in sorted({key.client for key in cells}, key=lambda name: _ORDER.get(name, 99)):
        by = {key.engine: cell for key, cell in cells.items() if key.client == client}
        if len(set(by.values())) == 1 and len(by) == len(engines):
            rows.setdefault(next(iter(by.values())), []).append(client)
        else:
            for engine in filter(by.__contains__, engines):
                rows.setdefault(by[engine], []).append(f"{client} by {engine}")
    short = all((cell.open, cell.open_done) == (cell.new, cell.new_done) for cell in rows)
    yield _SHORT if short else _LONG
    yield "|---|---|---|" if short else "|---|---|---|---|---|"
    for cell, who in rows.items():
        told = [cell.open, cell.open_done] if short else [cell.open, cell.open_done, cell.new, cell.new_done]
        yield f"| {', '.join(who)} | {' | '.join(told)} |"
