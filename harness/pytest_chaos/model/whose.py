"""Whose a request is: the test that its headers name, by what the driver put into them.

The driver marks every call of a test three times, so that a service may pass on any of it: the trace id begins with
``TRACE_MARK`` and the test's 12 hex digits, the correlation id is ``chaos-<digits>-<call>``, and the baggage entry
``chaos.correlation_id`` holds that once more.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping

TRACE_MARK = "c4a0"
"""What trace ids of the driver begin with; one in 65,536 of others' does so by chance."""
TEST = re.compile(r"[0-9a-f]{12}")
BAGGAGE_ENTRY = "chaos.correlation_id"
_CORRELATION = re.compile(r"chaos-([0-9a-f]{12})-[0-9.]+")


def correlation_prefix(test: str) -> str:
    """Give what the correlation ids of a test's calls begin with; ``test`` is its 12 hex digits."""
    return f"chaos-{test}-"


def whose(headers: Mapping[str, str]) -> str:
    """Give the test (12 hex digits) whose request these headers (lower-case names) are of; empty: they do not tell.

    The trace id is asked first, since services seldom touch it, then the correlation id, then baggage.
    """
    return (
        whose_trace(headers.get("traceparent", "").lower().partition("-")[2].partition("-")[0])
        or whose_id(headers.get("x-correlation-id", ""))
        or (whose_id(baggage(headers["baggage"]).get(BAGGAGE_ENTRY, "")) if "baggage" in headers else "")
    )


def whose_trace(trace_id: str) -> str:
    """Give the test that a trace id names; empty: none."""
    return trace_id[4:16] if trace_id.startswith(TRACE_MARK) and TEST.fullmatch(trace_id[4:16]) else ""


def whose_id(correlation_id: str) -> str:
    """Give the test that a correlation id names; empty: none."""
    found = _CORRELATION.fullmatch(correlation_id)
    return found[1] if found else ""


def baggage(header: str) -> dict[str, str]:
    """Read a W3C ``baggage`` header: its entries by name, values decoded, properties left out."""
    pairs = (entry.partition(";")[0].partition("=") for entry in header.split(","))
    return {name.strip(): urllib.parse.unquote(value.strip()) for name, found, value in pairs if found}
