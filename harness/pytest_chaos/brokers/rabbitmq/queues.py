"""How many messages wait in each queue, unacknowledged ones included, as the node itself says: AMQP does not tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pytest_chaos.brokers.rabbitmq.erlang import Erlang, term
from pytest_chaos.errors import ChaosError

_LOOK_S = 0.005
OWN = "pytest-chaos.observer."
"""How the names of the harness's own queues begin."""
_COUNT = """
[io_lib:format("~s ~p ~p~n", [binary:encode_hex(element(4, proplists:get_value(name, Row))),
  proplists:get_value(messages_ready, Row), proplists:get_value(messages_unacknowledged, Row)])
  || Row <- rabbit_amqqueue:info_all(<<"/">>, [name, messages_ready, messages_unacknowledged])].
"""
# All that a queue is made of; the default exchange binds every queue by itself.
_LIST = f"""
[[base64:encode(term_to_binary({{amqqueue:get_name(Q), amqqueue:is_durable(Q), amqqueue:is_auto_delete(Q),
   amqqueue:get_arguments(Q),
   [B || B <- rabbit_binding:list_for_destination(amqqueue:get_name(Q)), element(4, element(2, B)) =/= <<>>]}})), "\\n"]
  || Q <- rabbit_amqqueue:list(<<"/">>), string:prefix(element(4, amqqueue:get_name(Q)), <<"{OWN}">>) =/= nomatch,
     amqqueue:get_exclusive_owner(Q) =:= none].
"""
_MAKE = """
{{Name, Durable, AutoDelete, Arguments, Bindings}} = {token},
{{Found, _}} = rabbit_amqqueue:declare(Name, Durable, AutoDelete, Arguments, none, <<"guest">>),
true = lists:member(Found, [new, existing]),
[ok = rabbit_binding:add(B, <<"guest">>) || B <- Bindings], "made".
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Messages of one queue: ``ready`` to be delivered, ``unacked`` at a consumer."""

    ready: int
    unacked: int


class Queues:
    """Counts what waits in every queue of a node; told as :class:`Erlang` where that is."""

    def __init__(self, *, home: str = "", dist_port: int = 0, container: str = "") -> None:
        self._erlang = Erlang(home=home, dist_port=dist_port, container=container)

    def count(self) -> dict[str, Waiting] | None:
        """Give every queue's numbers by its name, or None when the node does not answer or there is no Erlang here."""
        try:
            rows = self._erlang.ask(_COUNT)
        except ChaosError:  # it is about to stop
            return None
        if rows is None:
            return None
        found: dict[str, Waiting] = {}
        for name, ready, unacked in (row.split() for row in rows):
            if ready.isdigit() and unacked.isdigit():
                queue = bytes.fromhex(name).decode(errors="replace")
                found[queue] = Waiting(ready=int(ready), unacked=int(unacked))
        return found

    def close(self) -> None:
        """End the process behind it; safe to call twice."""
        self._erlang.close()


async def drained(channel: Any, queue: str) -> None:
    """Return when all that the queue held has come to its consumer, which is on this channel (aiormq's).

    Nothing is published for it: a broker with an alarm would not take it, and a connection that publishes is blocked.
    """
    while (await channel.queue_declare(queue, passive=True)).message_count:  # noqa: ASYNC110 - the broker's, no event
        await asyncio.sleep(_LOOK_S)
    # What the queue has given away stands in the channel's own line by now, before this second question.
    await channel.queue_declare(queue, passive=True)
    await asyncio.sleep(0)


def keep(erlang: Erlang) -> Callable[[], None]:
    """Note the observers' queues with their bindings; the result declares them anew at a node that has lost them.

    An observer comes back by itself, a moment later; what is published in that moment would be seen by nobody.
    """
    tokens = erlang.ask(_LIST) or []

    def restore() -> None:
        try:
            for token in tokens:
                if erlang.ask(_MAKE.format(token=term(token))) != ["made"]:
                    msg = "RabbitMQ did not make an observer's queue anew after it lost its data"
                    raise ChaosError(msg)
        finally:
            erlang.close()

    return restore
