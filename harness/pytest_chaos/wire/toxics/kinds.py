"""What each byte fault may say: attributes, their ranges, which are needed. Pure.

Toxiproxy's toxics keep its names, attributes and units (ms, kB/s, bytes, us); ``corrupt``, ``close_after``,
``half_open`` and the distributions of ``latency`` are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_chaos.wire.toxics.delays import DISTRIBUTIONS

Range = tuple[int, int]
LONGEST_MS = 600_000
_MS: Range = (0, LONGEST_MS)
WORDS: Mapping[str, tuple[str, ...]] = {
    "stream": ("upstream", "downstream"),
    "latency.distribution": DISTRIBUTIONS,
    "half_open.then": ("silence", "reset"),
}
"""Attribute (with its toxic, unless all have it) -> what it may be."""

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
    "half_open": {},
}
"""Toxic -> attribute -> (lowest, highest), whole numbers."""
_OPTIONAL = frozenset({"jitter", "size_variation", "slicer.delay", "at", "one_in", "latency.latency"})


def wrong(toxic: str, params: Mapping[str, Any]) -> tuple[str, object, str] | None:
    """Name the first attribute that is wrong with its value and its range, or give None."""
    for name, value in params.items():
        range_ = _range(toxic, name, value)
        if range_:
            return name, value, range_
    return _missing(toxic, params) or _disagreeing(toxic, params)


def _range(toxic: str, name: str, value: object) -> str:
    """Say what the value must be, or nothing when it is well."""
    words = WORDS.get(name if name == "stream" else f"{toxic}.{name}")
    if words is not None:
        return "" if value in words else f"must be one of {', '.join(words)}"
    if (toxic, name) == ("latency", "percentiles"):
        well = _curve_well(value)
        return "" if well else "must map percentiles (above 0, up to 100) to ms (0 to 600000) that never fall"
    bounds = BOUNDS[toxic].get(name)
    if bounds is None:
        return f"is no attribute of {toxic}; it has {', '.join(BOUNDS[toxic]) or 'none but stream'}"
    return "" if _within(value, bounds) else "must be a whole number from {} to {}".format(*bounds)


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
