"""aiokafka's connections, kept alive so that they can be closed."""

from __future__ import annotations

from typing import Any


class Connections:
    """Holds the connections of aiokafka's clients, all of one event loop.

    The library forgets some: those that it drops when a broker dies, and one that it was making while its client was
    stopped. Such a socket stays open until it is collected, and that warns in the test that runs then.
    """

    def __init__(self) -> None:
        self._held: set[Any] = set()
        self._clients: list[Any] = []

    def hold(self, *owners: object) -> None:
        """Hold what these (consumer, producer, admin client; None is passed over) have open now, and will have."""
        for owner in owners:
            client = _client(owner)
            if client is not None and client not in self._clients:
                self._clients.append(client)
        for client in self._clients:
            self._held.update(client._conns.values())  # noqa: SLF001 - there is no other way to them

    def close(self) -> None:
        """Close all that are held."""
        self.hold()
        for connection in self._held:
            connection.close()
        self._held.clear()


def _client(owner: object) -> Any:
    return getattr(owner, "_client", None) or getattr(owner, "client", None)  # its producer says `client`
