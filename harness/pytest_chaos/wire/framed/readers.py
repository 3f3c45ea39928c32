"""The protocols that wire reads frame by frame, by name. One line here and a file make another one."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_chaos.errors import ChaosError
from pytest_chaos.wire.connection import Connection, Handler
from pytest_chaos.wire.framed.reader import Reader

if TYPE_CHECKING:
    from pytest_chaos.wire.links import Link

_HOMES = {
    "resp": ("pytest_chaos.wire.resp.reader", "RespReader"),
    "amqp": ("pytest_chaos.wire.amqp.reader", "AmqpReader"),
    "kafka": ("pytest_chaos.wire.kafka.reader", "KafkaReader"),
}
"""Module and class of each reader, made once for each connection: without arguments, or by its ``of_link(link)``."""
PROTOCOLS = tuple(_HOMES)


def handler_of(protocol: object) -> Callable[[Connection], Handler] | None:
    """Give what handles a protocol's connections, None where none is named; raise ChaosError naming those there are."""
    if protocol is None or protocol == "":
        return None
    home = _HOMES.get(protocol) if isinstance(protocol, str) else None
    if home is None:
        msg = f"protocol={protocol!r:.80}: must be one of {', '.join(PROTOCOLS)}, or null: found out by the first bytes"
        raise ChaosError(msg)
    from pytest_chaos.wire.framed.connection import Framed  # noqa: PLC0415 - on first use, as the reader

    make: Callable[[], Reader] = getattr(importlib.import_module(home[0]), home[1])
    of_link: Callable[[Link], Reader] | None = getattr(make, "of_link", None)
    return lambda connection: Framed(connection, make() if of_link is None else of_link(connection.link))
