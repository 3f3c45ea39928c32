"""A compensation that fails ends the compensating.

It is not repeated, the others are skipped, and its error replaces the cause.

Service: orders. Provoked by: inventory refusing Confirm, then payments answering 503 to the refund: the refund is
tried once, the reservation is never released, the caller gets status 500 instead of the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from services_under_test.common.compensation import Undo
from services_under_test.defects import Defect


class CompensationFailedError(Exception):
    """A compensation did not succeed."""


async def _once_each(undos: Sequence[Undo]) -> None:
    for undo in undos:
        if not await undo.once():
            msg = f"{undo.name} failed"
            raise CompensationFailedError(msg)


DEFECT = Defect(
    id="SAGA-1",
    service="orders",
    rules=("G4", "H1"),
    scenario="Confirm fails, and POST /payments/refunds fails once",
    also={
        "G1": "the saga stays in COMPENSATING for ever",
        "G2": "the charge is not refunded and the reservation not released",
        "G3": "a release that never starts has no place in the order",
        "G10": "money and stock stay with an order that will never be confirmed",
    },
    replaces={"compensate": _once_each},
)
