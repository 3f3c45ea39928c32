"""The little of gRPC that wire knows: status codes and deadlines. Pure."""

from __future__ import annotations

UNAVAILABLE = 14

OF_HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
"""What a gRPC caller makes of an HTTP status (grpc/doc/http-grpc-status-mapping.md); anything else is UNKNOWN (2)."""

_UNITS_NS = {"H": 3600 * 10**9, "M": 60 * 10**9, "S": 10**9, "m": 10**6, "u": 10**3, "n": 1}
_NEARLY = 0.95


def deadline_passed(timeout: str, elapsed_ns: int) -> bool:
    """Whether a call that lasted so long ended by its ``grpc-timeout``, which is a little shorter when it goes out."""
    value, unit = timeout[:-1], timeout[-1:]
    return value.isdecimal() and unit in _UNITS_NS and elapsed_ns >= int(value) * _UNITS_NS[unit] * _NEARLY
