"""Proof that a toxic touched something: what wire saw go through meanwhile, and Toxiproxy's own counters."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence

from pytest_chaos.injectors.base import Seen
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.fault import ByteFault

Traffic = Callable[[str, int, int], Awaitable[Sequence[Attempt]]]
"""``await traffic(link, from_ns, to_ns)``: wire's attempts on a link that were open within (monotonic ns)."""

_COUNTER = re.compile(r"^toxiproxy_proxy_(?:received|sent)_bytes_total\{([^}]*)\} ([0-9.e+]+)$", re.MULTILINE)


def hits_in(fault: ByteFault, attempts: Sequence[Attempt], from_ns: int, to_ns: int) -> Seen:
    """Count the requests whose bytes went the toxic's way on its link between two moments.

    ``upstream`` is hit when a request's bytes were forwarded while the toxic was there, ``downstream`` when an answer's
    bytes came while it was there, or were awaited then and never came. A connection's end alone proves nothing.
    """
    times: list[int] = []
    size = 0
    for attempt in attempts:
        if attempt.link != fault.link or attempt.forwarded_ns is None:
            continue
        at = _hit_at(fault, attempt, from_ns, to_ns)
        if at is not None:
            times.append(at)
            size += attempt.request_bytes if fault.stream == "upstream" else attempt.response_bytes
    if not times:
        return Seen()
    way = "to the callee" if fault.stream == "upstream" else "to the caller"
    proof = f"{len(times)} requests on {fault.link} moved {size} bytes {way} through {fault.toxic}"
    return Seen(hits=len(times), first_ns=min(times), last_ns=max(times), proof=proof)


def _hit_at(fault: ByteFault, attempt: Attempt, from_ns: int, to_ns: int) -> int | None:
    forwarded = attempt.forwarded_ns or 0
    if fault.stream == "upstream":
        # The last byte of a request may be forwarded long after the first: sent_ns bounds it.
        last = max(forwarded, attempt.sent_ns or forwarded)
        return max(forwarded, from_ns) if forwarded <= to_ns and last >= from_ns else None
    first = attempt.answered_ns if attempt.answered_ns is not None else attempt.ended_ns
    last = attempt.ended_ns if attempt.ended_ns is not None else to_ns
    if forwarded > to_ns or last < from_ns:
        return None
    if attempt.answered_ns is None and not attempt.error and attempt.ended_ns is not None:
        return None
    return max(forwarded if first is None else min(first, to_ns), from_ns)


def bytes_through(metrics: str, proxy: str, stream: str) -> int:
    """Read one proxy's bytes in one direction from Toxiproxy's metrics. It counts a connection when that has ended."""
    total = 0.0
    for labels, value in _COUNTER.findall(metrics):
        if f'proxy="{proxy}"' in labels and f'direction="{stream}"' in labels:
            total = max(total, float(value))
    return int(total)
