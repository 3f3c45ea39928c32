"""The correlation id is put on the request in hand and on its answer, and on nothing that goes out.

Service: every one, on every carrier: HTTP header, gRPC metadata, AMQP property, Kafka header, Redis field. Provoked by
nothing: any request whose service calls another.
"""

from __future__ import annotations

from services_under_test.defects import Defect


def _nothing(_: str) -> str:
    return ""


DEFECT = Defect(
    id="CORR-1",
    service="all",
    rules=("X1",),
    scenario="any order, any new user; no fault needed",
    also={
        "X4": "retries, compensations and background work go out without the id as well",
    },
    replaces={"outbound_correlation": _nothing},
)
