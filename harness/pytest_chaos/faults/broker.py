"""Faults that only the broker itself can play: poison, lost routes, rebalances, redeliveries, no room, lost data.

What happens to a broker's connections and calls is in the families on links (``Refuse``, ``ConfirmLost``, ...); a
broker that is down or stands still is ``Kill``, ``Stop`` or ``Pause`` of its node, one that restarts with its data
``Restart``. Not every broker can do everything: what one cannot is refused when it is installed, with what works there.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pytest_chaos.errors import FaultError
from pytest_chaos.faults import Between, catalogue, check_fields
from pytest_chaos.model.fault import Action, BrokerAction, NodeAction

_Few = Annotated[int, Between(1, 1000)]


@dataclass(frozen=True, slots=True)
class _AtBroker:
    broker: str

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def target(self) -> str:
        """The broker."""
        return self.broker

    def _named(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not value.strip():
                article = "an" if name[0] in "aeiou" else "a"
                msg = f"{type(self).__name__}: {name}={value!r}: must name {article} {name} of {self.broker}"
                raise FaultError(msg)

    def _do(self, fault_id: str, verb: Any, **params: object) -> tuple[Action, ...]:
        return (BrokerAction(id=f"{fault_id}.1", fault=fault_id, broker=self.broker, verb=verb, params=params),)


@catalogue.register("PoisonMessage")
@dataclass(frozen=True, slots=True)
class PoisonMessage(_AtBroker):
    """A message that its consumers cannot read is put into ``channel``: a Kafka topic, RabbitMQ queue or Redis stream.

    ``message`` is its body (Redis: its field ``data``), else something that is neither UTF-8 nor JSON. On RabbitMQ a
    ``key`` makes ``channel`` an exchange; on Kafka it is the record's. ``count`` (1 to 1000) copies, each confirmed by
    the broker; the channel must exist. The header ``x-chaos-poison`` marks them: :class:`Delivery` owes them no effect.
    Lifting the fault takes no message back: what became of it is its consumers' doing.
    """

    channel: str
    message: bytes | str | None = field(default=None, kw_only=True)
    key: str = field(default="", kw_only=True)
    headers: dict[str, str] = field(default_factory=dict, kw_only=True)
    count: _Few = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        _AtBroker.__post_init__(self)
        self._named("channel")
        message: Any = self.message
        if not isinstance(message, (bytes, str, type(None))):
            msg = f"PoisonMessage: message={message!r:.80}: must be bytes or a string"
            raise FaultError(msg)

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one action of the broker."""
        body = self.message.encode("utf-8", "surrogatepass") if isinstance(self.message, str) else self.message
        return self._do(
            fault_id,
            "poison",
            channel=self.channel,
            message=None if body is None else base64.b64encode(body).decode(),
            key=self.key,
            headers=dict(self.headers),
            count=self.count,
        )


@catalogue.register("Unroutable")
@dataclass(frozen=True, slots=True)
class Unroutable(_AtBroker):
    """RabbitMQ: the bindings of ``exchange`` are taken away, and put back exactly as they were when it is lifted.

    All of them, or those to ``queue``, or with the binding key ``key``. A message that no queue takes is returned where
    it was published as mandatory, else it vanishes; each counts as a hit. Raises FaultError where there is no binding.
    """

    brokers: ClassVar[tuple[str, ...]] = ("AMQP",)
    seen_by: ClassVar[str] = "publishers"

    exchange: str
    queue: str = field(default="", kw_only=True)
    key: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        _AtBroker.__post_init__(self)
        self._named("exchange")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one action of the broker."""
        return self._do(fault_id, "unbind", exchange=self.exchange, queue=self.queue, key=self.key)


@catalogue.register("ForceRebalance")
@dataclass(frozen=True, slots=True)
class ForceRebalance(_AtBroker):
    """Kafka: the members of ``group`` are made to share its partitions anew, ``times`` times (1 to 1000).

    ``how="join"``: a member that wants no partition joins and leaves again: two rebalances, and nobody is removed.
    ``how="evict"``: the broker removes every member, as if its session had timed out: what it has in hand can no longer
    be committed. Hits are rebalances. The group must have members that answer within 20 s (they learn of a rebalance
    with their heartbeats).
    """

    brokers: ClassVar[tuple[str, ...]] = ("Kafka",)

    group: str
    how: Literal["join", "evict"] = field(default="join", kw_only=True)
    times: _Few = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        _AtBroker.__post_init__(self)
        self._named("group")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one action of the broker."""
        return self._do(fault_id, "rebalance", group=self.group, how=self.how, times=self.times)


@catalogue.register("Redeliver")
@dataclass(frozen=True, slots=True)
class Redeliver(_AtBroker):
    """Messages of ``channel`` that consumers had already are delivered to them again.

    RabbitMQ (``channel`` a queue): as soon as ``count`` messages are in their consumers' hands, the broker closes these
    consumers' connections; what was unacknowledged comes again, and each such delivery is a hit. Kafka (a topic) and
    Redis (a stream): ``group`` is set back by up to ``count`` records (a partition) or entries, acknowledged or not;
    hits are those that it got past again. Where it has not when the fault is lifted, it is put back.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"channel": "{channel}"},
        {"channel": "{channel}", "group": "{group}"},
    )
    seen_by: ClassVar[str] = "consumers"

    channel: str
    group: str = field(default="", kw_only=True)
    count: _Few = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        _AtBroker.__post_init__(self)
        self._named("channel")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one action of the broker."""
        return self._do(fault_id, "redeliver", channel=self.channel, group=self.group, count=self.count)


@catalogue.register("BrokerFull")
@dataclass(frozen=True, slots=True)
class BrokerFull(_AtBroker):
    """The broker has no room left and takes no more messages until the fault is lifted; reading goes on.

    RabbitMQ raises its disk alarm: publishers are told ``connection.blocked`` and wait; hits are connections that it
    blocked. Redis refuses writes with its OOM error; hits are refusals. Kafka has no such answer (a full disk ends it:
    that is ``Kill``), so it is refused there.
    """

    brokers: ClassVar[tuple[str, ...]] = ("AMQP", "Redis")

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one action of the broker."""
        return self._do(fault_id, "fill")


@catalogue.register("RestartEmpty")
@dataclass(frozen=True, slots=True)
class RestartEmpty(_AtBroker):
    """The broker is killed, loses its data, and is started again, on the same ports.

    Messages, offsets, topics, queues and bindings are gone; there is again what somebody declares. What is lost stays
    lost: the undo is a broker that runs.
    """

    def actions(self, fault_id: str) -> tuple[Action, ...]:
        """Compile to one lifecycle action."""
        return (NodeAction(id=f"{fault_id}.1", fault=fault_id, node=self.broker, verb="wipe"),)
