"""An order is placed by POST without an idempotency key, while the retry around it still repeats the POST.

Service: users, on its link to orders. Provoked by: the answer to ``POST /api/orders`` lost after the order was made;
users asks again.
"""

from __future__ import annotations

from services_under_test.defects import Defect


def _no_key(_: str) -> str:
    return ""


DEFECT = Defect(
    id="REST-2",
    service="users",
    rules=("R5", "I1"),
    scenario="a lost answer to POST /api/orders behind POST /api/users/{id}/orders",
    also={
        "I9": "no key at all is not the same key on all attempts",
        "R9": "a checker that compares keys over attempts finds none to compare",
        "G10": "the second order is paid and delivered as well: twice the money for one intent",
    },
    replaces={"order_key": _no_key},
)
