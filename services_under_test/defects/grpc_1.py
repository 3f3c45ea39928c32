"""Calls to inventory carry no deadline; gRPC sets none by itself.

Service: orders, on its link to inventory. Provoked by: inventory's answer held for ever: no ``grpc-timeout`` on the
wire, and a call that never ends.
"""

from __future__ import annotations

from services_under_test.defects import Defect


def _no_deadline(_: float) -> float | None:
    return None


DEFECT = Defect(
    id="GRPC-1",
    service="orders",
    rules=("T1", "T2"),
    scenario="a gRPC call to inventory held, or swallowed by the link",
    also={
        "G1": "the saga waits for a step that never ends, so it reaches no terminal state while the fault lasts",
        "R7": "one endless attempt outlasts the time that all attempts together were given",
        "G2": "nothing is undone as long as the saga does not know that it has failed",
    },
    replaces={"rpc_timeout": _no_deadline},
)
