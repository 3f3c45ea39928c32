"""Asking a service for its ledgers, off the links: what it says stands at the end of a test."""

from __future__ import annotations

import functools
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_chaos.engine.clock import now_ns
from pytest_chaos.errors import ChaosError
from pytest_chaos.model.message import Effect
from pytest_chaos.model.topology import Http, Service

_KNOWN = frozenset({"ledger", "key", "marker", "amount_minor", "state", "count"})
_TIMEOUT_S = 5.0


def read_state(service: Service, addresses: Mapping[str, str]) -> list[Effect]:
    """Read one service's rows; ``addresses`` maps its ports' names to where they really listen (never a link).

    Raises ChaosError when the service does not answer or answers something that is not a list of rows.
    """
    query = service.state
    if query is None:
        return []
    rows: Any = _fetch(service.name, query, addresses) if isinstance(query, Http) else query()
    if not isinstance(rows, Iterable) or isinstance(rows, (str, bytes, Mapping)):
        msg = f"{service.name}: its state query gave {type(rows).__name__}; it must give a list of ledger rows"
        raise ChaosError(msg)
    read_at = now_ns()
    return [_row(service.name, number, row, read_at) for number, row in enumerate(rows, start=1)]


def _fetch(name: str, query: Http, addresses: Mapping[str, str]) -> object:
    port = query.port or next(iter(addresses), "")
    if port not in addresses:
        msg = f"{name}: its state query names the port {port!r}; it has: {', '.join(addresses) or 'none'}"
        raise ChaosError(msg)
    url = f"http://{addresses[port]}{query.path}"
    try:
        with _direct().open(url, timeout=_TIMEOUT_S) as answer:
            return json.loads(answer.read())
    except (OSError, ValueError, urllib.error.URLError) as wrong:
        msg = f"{name}: its state could not be read from {url}: {wrong}"
        raise ChaosError(msg) from wrong


@functools.cache
def _direct() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _row(node: str, number: int, row: object, read_at: int) -> Effect:
    if not isinstance(row, Mapping) or "ledger" not in row or "key" not in row:
        msg = f"{node}: row {number} of its state is {row!r:.120}; a row needs at least `ledger` and `key`"
        raise ChaosError(msg)
    amount = row.get("amount_minor")
    return Effect(
        id=f"{node}-{number}",
        node=node,
        ledger=str(row["ledger"]),
        key=str(row["key"]),
        source="state",
        at_ns=read_at,
        marker=str(row.get("marker") or ""),
        amount_minor=None if amount is None else int(amount),
        state=str(row.get("state") or ""),
        count=int(row.get("count", 1)),
        fields={str(name): str(value) for name, value in row.items() if name not in _KNOWN},
    )
