"""A step without an answer is taken for a step that did not happen, so nothing undoes it.

Service: orders. Provoked by: the answers to all attempts of ``POST /payments`` lost after the charge: the order is
given up, the stock is released, the money is kept.
"""

from __future__ import annotations

from services_under_test.common.outcome import Effect, Outcome
from services_under_test.defects import Defect


def _no_answer_no_effect(outcome: Outcome) -> Effect:
    return Effect.HAPPENED if outcome.ok else Effect.NONE


DEFECT = Defect(
    id="SAGA-3",
    service="orders",
    rules=("G2", "T4", "G10"),
    scenario="every answer to POST /payments lost after the work, or held",
    also={
        "H1": "the caller is told a definite no while its money is gone",
    },
    replaces={"effect_of": _no_answer_no_effect},
)
