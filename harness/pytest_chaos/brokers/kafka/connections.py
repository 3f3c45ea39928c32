"""aiokafka's connections, kept alive so that they can be closed."""

from __future__ import annotations

from typing import Any


class Connections:
    """Holds the connections of aiokafka's clients.

    One that the library drops when a broker dies can then still close itself; otherwise its socket stays open until it
    is collected, and that warns in the test that runs then.
    """

    def __init__(self) -> None:
        self._held: set[Any] = set()

    def hold(self, *owners: object) -> None:
        """Hold what these clients (consumer, producer, admin client) have open now."""
        for owner in owners:
            self._held.update(getattr(_client(owner), "_conns", {}).values())

    def close(self) -> None:
        """Close all; in the clients' own loop."""
        for connection in self._held:
            connection.close()
        self._held.clear()


def _client(owner: object) -> object:
    return getattr(owner, "_client", None) or getattr(owner, "client", None)  # its producer says `client`
