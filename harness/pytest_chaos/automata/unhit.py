"""Why a fault may have hit nothing, as far as the history tells."""

from __future__ import annotations

from pytest_chaos.model.history import FaultRecord, History
from pytest_chaos.model.operations import pattern


def why_unhit(fault: FaultRecord, history: History) -> str:
    """Say what hid a fault's requests from it, or that they came after it was lifted; empty: nobody can say."""
    return "; ".join(reason for reason in (*map(history.opaque, _links(fault)), _late(fault, history)) if reason)


def _late(fault: FaultRecord, history: History) -> str:
    wanted = pattern(fault.params.get("operation", "") or "**")
    lifted_ns = fault.lifted_ns
    if lifted_ns is None:
        return ""
    asked = [one for link in _links(fault) for one in history.on(link)]
    after = [one for one in asked if wanted.fullmatch(one.operation) and one.started_ns > lifted_ns]
    if not after:
        return ""
    first = min(after, key=lambda one: one.started_ns)
    wait_ms = (first.started_ns - lifted_ns) / 1e6
    return (
        f"{first.operation or 'a connection'} ({first.id}) came {wait_ms:.0f} ms after the fault was lifted: wait for "
        "it inside the with block, with chaos.wait_until(...) or chaos.settle()"
    )


def _links(fault: FaultRecord) -> tuple[str, ...]:
    return fault.links or (fault.params.get("link", fault.target),)
