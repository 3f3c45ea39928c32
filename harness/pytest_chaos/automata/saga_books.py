"""Conservation: money captured is money owed, goods are somewhere, and never less than nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_chaos.automata.ledger import rows
from pytest_chaos.automata.saga import SagaRecord, StepRecord
from pytest_chaos.model.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Imbalance:
    """What does not add up, in one sentence with numbers, and the ids that show it."""

    message: str
    witness: tuple[str, ...]


def books(known: Sequence[SagaRecord], completed: Sequence[str]) -> Iterator[Imbalance]:
    """Compare what each saga's money steps captured less refunded with what it costs: nothing unless completed.

    Amounts are integers in minor units. A ledger without amounts is compared by counts.
    """
    final = {state.upper() for state in completed}
    for one in known:
        for record in one.steps:
            if not record.step.money:
                continue
            net = _net(record)
            owed = one.row.amount_minor if one.row and one.state in final else 0
            if record.did - record.undid > 1:
                yield Imbalance(
                    message=f"saga {one.id}: {record.step.name!r} stands {record.did - record.undid} times, not once",
                    witness=tuple(one.ids()),
                )
            elif owed is None or net is None:
                if record.stands != (one.state in final):
                    what = one.state or "not in the books"
                    yield Imbalance(
                        message=f"saga {one.id} is {what}, and {record.step.name!r} stands {record.stands} times",
                        witness=tuple(one.ids()),
                    )
            elif net != owed:
                what = one.state or "not in the books"
                yield Imbalance(
                    message=f"saga {one.id} is {what} and owes {owed}, but captured less refunded is {net} (minor)",
                    witness=tuple(one.ids()),
                )


def stock(history: History, ledger: str, initial: Mapping[str, int]) -> Iterator[Imbalance]:
    """Check that no row of a stock ledger is negative and that each product's rows add up to what there was."""
    found = rows(history, ledger) if ledger else []
    for row in found:
        if row.count < 0:
            yield Imbalance(
                message=f"{ledger}: {row.key} {row.state} is {row.count}, less than nothing", witness=(row.id,)
            )
    for product, amount in initial.items():
        mine = [row for row in found if row.key == product]
        total = sum(row.count for row in mine)
        if mine and total != amount:
            parts = ", ".join(f"{row.count} {row.state}" for row in mine)
            yield Imbalance(
                message=f"{ledger}: {product} adds up to {total} ({parts}); there were {amount}",
                witness=tuple(row.id for row in mine),
            )


def _net(record: StepRecord) -> int | None:
    total = 0
    undone = {one.id for one in record.undone_rows}
    for row in (*record.rows, *record.undone_rows):
        if row.amount_minor is None:
            return None
        if record.step.standing and row.state.lower() not in {state.lower() for state in record.step.standing}:
            continue
        total += -row.amount_minor * row.count if row.id in undone else row.amount_minor * row.count
    return total
