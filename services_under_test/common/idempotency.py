"""Idempotency keys, persisted.

New, then busy, then done with the stored answer; after the IETF draft "Idempotency-Key" header field.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from services_under_test.common.store import Store

SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    scope TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, ref TEXT NOT NULL, status INTEGER, body TEXT,
    PRIMARY KEY (scope, key)
);
"""


class KeyState(StrEnum):
    """What a key means for the request in hand."""

    NEW = "new"
    BUSY = "busy"
    DONE = "done"
    CLASH = "clash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A key's state.

    ``ref`` names what the first request began (an order, a charge), ``status`` and ``body`` its answer.
    """

    state: KeyState
    ref: str
    status: int = 0
    body: Mapping[str, Any] | None = None


def fingerprint(payload: Mapping[str, Any]) -> str:
    """Hash a payload, whatever the order of its fields."""
    return hashlib.sha256(json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Keys:
    """The table of keys.

    All methods are to be called inside the transaction that does the work itself, where there is one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        store.schema(SCHEMA)

    def look(self, scope: str, key: str, print_: str) -> Claim | None:
        """Give what is known of a key; None when it is new. The payload is compared first, also while busy."""
        row = self._store.row("SELECT * FROM keys WHERE scope = ? AND key = ?", scope, key)
        if row is None:
            return None
        if row["fingerprint"] != print_:
            return Claim(state=KeyState.CLASH, ref=row["ref"])
        if row["status"] is None:
            return Claim(state=KeyState.BUSY, ref=row["ref"])
        return Claim(state=KeyState.DONE, ref=row["ref"], status=row["status"], body=json.loads(row["body"]))

    def claim(self, scope: str, key: str, print_: str, ref: str) -> Claim:
        """Take a new key for ``ref``, or give what is known of it."""
        if known := self.look(scope, key, print_):
            return known
        self._store.run("INSERT INTO keys (scope, key, fingerprint, ref) VALUES (?, ?, ?, ?)", scope, key, print_, ref)
        return Claim(state=KeyState.NEW, ref=ref)

    def settle(self, scope: str, ref: str, status: int, body: Mapping[str, Any]) -> None:
        """Store the answer that every repeat gets from now on."""
        self._store.run(
            "UPDATE keys SET status = ?, body = ? WHERE scope = ? AND ref = ? AND status IS NULL",
            status,
            json.dumps(body),
            scope,
            ref,
        )

    def forget_key(self, scope: str, key: str) -> None:
        """Free one key whose request was turned away."""
        self._store.run("DELETE FROM keys WHERE scope = ? AND key = ? AND status IS NULL", scope, key)

    def forget(self, scope: str, ref: str) -> None:
        """Free a key whose request was turned away before anything was done: a repeat is then a new request."""
        self._store.run("DELETE FROM keys WHERE scope = ? AND ref = ? AND status IS NULL", scope, ref)
