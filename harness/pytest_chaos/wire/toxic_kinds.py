"""What each byte fault may say: attributes, their ranges, which are needed. Pure.

Toxiproxy's toxics keep its names, attributes and units (ms, kB/s, bytes, us); ``corrupt``, ``close_after`` and the
distributions of ``latency`` are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_chaos.wire.delays import DISTRIBUTIONS

Range = tuple[int, int]
LONGEST_MS = 600_000
_MS: Range = (0, LONGEST_MS)
STREAMS = ("upstream", "downstream")

BOUNDS: Mapping[str, Mapping[str, Range]] = {
    "latency": {"latency": _MS, "jitter": _MS},
    "bandwidth": {"rate": (1, 10_000_000)},
    "slow_close": {"delay": _MS},
    "timeout": {"timeout": _MS},
    "reset_peer": {"timeout": (0, 4_000)},
    "slicer": {"average_size": (1, 65_536), "size_variation": (0, 65_535), "delay": (0, 10_000_000)},
    "limit_data": {"bytes": (0, 2**31)},
    "corrupt": {"at": (1, 2**31), "one_in": (1, 2**31)},
    "close_after": {"ms": (1, LONGEST_MS)},
}
"""Toxic -> attribute -> (lowest, highest), whole numbers."""
_OPTIONAL = frozenset({"jitter", "size_variation", "slicer.delay", "at", "one_in", "latency.latency"})


def wrong(toxic: str, params: Mapping[str, Any]) -> tuple[str, object, str] | None:
    """Name the first attribute that is wrong with its value and its range, or give None."""
    bounds = BOUNDS[toxic]
    for name, value in params.items():
        if name == "stream":
            if value not in STREAMS:
                return name, value, f"must be one of {', '.join(STREAMS)}"
        elif toxic == "latency" and name == "distribution":
            if value not in DISTRIBUTIONS:
                return name, value, f"must be one of {', '.join(DISTRIBUTIONS)}"
        elif toxic == "latency" and name == "percentiles":
            if not _curve_well(value):
                return name, value, "must map percentiles (above 0, up to 100) to ms (0 to 600000) that never fall"
        elif name not in bounds:
            return name, value, f"is no attribute of {toxic}; it has {', '.join(bounds)}"
        elif not _within(value, bounds[name]):
            return name, value, "must be a whole number from {} to {}".format(*bounds[name])
    return _missing(toxic, params) or _disagreeing(toxic, params)


def _missing(toxic: str, params: Mapping[str, Any]) -> tuple[str, object, str] | None:
    for name, (low, high) in BOUNDS[toxic].items():
        if name not in params and name not in _OPTIONAL and f"{toxic}.{name}" not in _OPTIONAL:
            return name, None, f"is needed: a whole number from {low} to {high}"
    return None


def _disagreeing(toxic: str, params: Mapping[str, Any]) -> tuple[str, object, str] | None:
    average, variation = params.get("average_size", 1), params.get("size_variation", 0)
    if toxic == "slicer" and not variation < average:
        return "size_variation", variation, f"must be less than average_size={average}"
    if toxic == "corrupt" and ("at" in params) == ("one_in" in params):
        return "at", params.get("at"), "give either at or one_in"
    if toxic == "latency":
        if (params.get("distribution") == "percentiles") != ("percentiles" in params):
            value = params.get("percentiles")
            return "percentiles", value, "goes with the distribution of that name, and only with it"
        if "percentiles" not in params and "latency" not in params:
            return "latency", None, "is needed: a whole number from 0 to 600000"
    return None


def _within(value: object, bounds: Range) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and bounds[0] <= value <= bounds[1]


def _curve_well(value: object) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    try:
        curve = sorted((float(name), ms) for name, ms in value.items())
    except (TypeError, ValueError):
        return False
    points, times = [point for point, _ in curve], [ms for _, ms in curve]
    return (
        all(0 < point <= 100 for point in points)
        and len(set(points)) == len(points)
        and all(_within(ms, _MS) for ms in times)
        and times == sorted(times)
    )
