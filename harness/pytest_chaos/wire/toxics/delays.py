"""How late a chunk is: a delay drawn from a distribution. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any

DISTRIBUTIONS = ("constant", "uniform", "normal", "percentiles")
_NORMAL = NormalDist()


def delay_ms(params: Mapping[str, Any], draw: Callable[[], float]) -> float:
    """Draw a delay in ms, 0 or more, by ``params``; ``draw`` gives numbers in [0, 1).

    ``latency`` ms with ``jitter`` ms: ``constant`` (no jitter), ``uniform`` (latency +- jitter; the default, as
    Toxiproxy's), ``normal`` (jitter is the standard deviation; never below 0). ``percentiles`` maps a percentile to ms:
    linear between the given ones, from 0 ms at 0 to the lowest, and never more than the highest.
    """
    shape = params.get("distribution", "uniform")
    if shape == "percentiles":
        return at_percentile(params["percentiles"], draw() * 100)
    latency, jitter = float(params["latency"]), float(params.get("jitter", 0))
    if shape == "constant" or not jitter:
        return latency
    if shape == "normal":
        # 0 is no value of the inverse of the distribution function.
        return max(0.0, latency + jitter * _NORMAL.inv_cdf(max(draw(), 1e-12)))
    return max(0.0, latency + jitter * (2 * draw() - 1))


def at_percentile(curve: Mapping[str, float], percentile: float) -> float:
    """Give the curve's value in ms at a percentile from 0 to 100."""
    before, value = 0.0, 0.0
    for point, ms in sorted((float(name), ms) for name, ms in curve.items()):
        if percentile < point:
            return value + (ms - value) * (percentile - before) / (point - before)
        before, value = point, ms
    return value
