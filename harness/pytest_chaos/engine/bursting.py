"""Many calls at once, each with ids that derive from its index and not from who came first."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pytest_chaos.engine.identity import Identities
from pytest_chaos.errors import ChaosError

T = TypeVar("T")


def burst(identities: Identities, calls: int, call: Callable[[int], T], concurrency: int | None) -> list[T | Exception]:
    """Make so many calls (1 to 1000), all at once or ``concurrency`` at a time; give results or what they raised."""
    at_once = calls if concurrency is None else concurrency
    for name, value, most in (("calls", calls, 1000), ("concurrency", at_once, calls)):
        whole: object = value
        if not isinstance(whole, int) or not 1 <= value <= most:
            msg = f"burst({name}={value!r}): must be a whole number from 1 to {most}"
            raise ChaosError(msg)

    place = identities.branches()

    def one(index: int) -> T | Exception:
        try:
            with place(index):
                return call(index)
        except Exception as error:  # noqa: BLE001 - the caller's own exceptions are this function's results
            return error

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(one, range(calls)))
