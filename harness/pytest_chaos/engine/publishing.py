"""The driver's publishes: every one an Op on the link ``test -> broker``, with the test's identities in its headers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_chaos.engine.driver import OpLog
from pytest_chaos.errors import ChaosError, PublishError, StackError
from pytest_chaos.model.topology import DRIVER, Broker

if TYPE_CHECKING:
    from pytest_chaos.brokers.base import Body, Publisher
    from pytest_chaos.engine.session import Session

_MOST_S = 600.0


class Publishing:
    """One test's publishers, one a broker, made on first use."""

    def __init__(self, session: Session, log: OpLog) -> None:
        self._session = session
        self._log = log
        self._publishers: dict[str, Publisher] = {}
        self._lock = threading.Lock()

    def publish(
        self, node: str, channel: str, message: Body, *, key: str, headers: Mapping[str, str], timeout_s: float
    ) -> str:
        """Publish one message; raise PublishError when it was not confirmed, ChaosError when it cannot be asked."""
        broker = self._session.topology.node(node)
        if not isinstance(broker, Broker):
            msg = f"publish({node!r}): is no broker; the topology has: {', '.join(self._brokers()) or 'none'}"
            raise ChaosError(msg)
        if not 0 < timeout_s <= _MOST_S:
            msg = f"publish(timeout_s={timeout_s}): must be above 0 and at most {_MOST_S:g} s"
            raise ChaosError(msg)
        link = f"{DRIVER} -> {node}"
        given = {name.lower(): value for name, value in headers.items()}
        with self._lock:  # a publisher serves one thread at a time
            publisher = self._publisher(broker, link)
            identity, op = self._log.invoke(
                link,
                f"publish {channel}{f' {key}' if key else ''}",
                correlation_id=given.get("x-correlation-id", ""),
                deadline_s=timeout_s,
            )
            try:
                name = publisher.publish(
                    channel, message, key=key, headers={**identity.headers(), **given}, timeout_s=timeout_s
                )
            except PublishError as wrong:
                self._log.complete(op, "fail" if wrong.certain else "info", error=str(wrong))
                raise
            except BaseException as wrong:
                self._log.complete(op, "info", error=f"{type(wrong).__name__}: {wrong}")
                raise
            self._log.complete(op, "ok", response_body=name)
            return name

    def close(self) -> None:
        """Disconnect; safe to call twice."""
        publishers, self._publishers = self._publishers, {}
        for publisher in publishers.values():
            publisher.close()

    def _publisher(self, broker: Broker, link: str) -> Publisher:
        from pytest_chaos.brokers.base import recipe_for  # noqa: PLC0415 - only where somebody publishes

        if broker.name not in self._publishers:
            if broker.name not in self._session.stack.direct:
                msg = (
                    f"{broker.name} is not running here: {self._session.missing_parts().get(broker.kind, '')}".rstrip()
                )
                raise StackError(msg.rstrip(":"))
            recipe = recipe_for(broker.kind)
            self._publishers[broker.name] = recipe.publisher(broker.name, recipe.address(self._session.address(link)))
        return self._publishers[broker.name]

    def _brokers(self) -> list[str]:
        return [node.name for node in self._session.topology.nodes if isinstance(node, Broker)]
