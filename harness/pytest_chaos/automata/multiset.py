"""Published against processed: what was lost, made up, doubled, recovered. After Jepsen's total-queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """The differences of two multisets of markers, each sorted.

    ``lost``: acknowledged and never processed nor parked. ``unexpected``: processed and never attempted. ``doubled``:
    processed more than once, with the count. ``recovered``: processed although the publisher was never told that it
    arrived.
    """

    lost: tuple[str, ...]
    unexpected: tuple[str, ...]
    doubled: tuple[tuple[str, int], ...]
    recovered: tuple[str, ...]


def balance(
    acknowledged: Iterable[str], processed: Iterable[str], *, attempted: Iterable[str] = (), parked: Iterable[str] = ()
) -> Balance:
    """Compare what a broker confirmed with what was done; ``attempted`` may have arrived, ``parked`` is put aside."""
    confirmed, tried = set(acknowledged), set(attempted)
    done = Counter(processed)
    aside = set(parked)
    return Balance(
        lost=tuple(sorted(confirmed - set(done) - aside)),
        unexpected=tuple(sorted((set(done) | aside) - confirmed - tried)),
        doubled=tuple(sorted((marker, count) for marker, count in done.items() if count > 1)),
        recovered=tuple(sorted((set(done) & tried) - confirmed)),
    )
