"""What a RabbitMQ can be made to do: carry poison, lose routes, be full, take deliveries back from consumers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from pytest_chaos.brokers._poison import Poison
from pytest_chaos.brokers.base import Disturbance, Toll
from pytest_chaos.brokers.rabbitmq.erlang import Erlang, binary, term
from pytest_chaos.brokers.rabbitmq.firehose import Firehose, plain
from pytest_chaos.brokers.rabbitmq.publisher import RabbitPublisher
from pytest_chaos.brokers.rabbitmq.watch import Watch, within
from pytest_chaos.errors import ChaosError, FaultError

_ALARM_S = 4.0
_ELSEWHERE = {"rebalance": "its consumers share no partitions; Kill one of them, or Redeliver what it has in hand"}
_EXCHANGE = 'rabbit_misc:r(<<"/">>, exchange, {name})'
_QUEUE = 'rabbit_misc:r(<<"/">>, queue, {name})'
_BINDINGS = """
case rabbit_exchange:exists({exchange}) of
  false -> "none";
  true -> [[base64:encode(term_to_binary(B)), " ", binary:encode_hex(element(4, element(4, B))), " ",
    binary:encode_hex(element(3, B)), "\\n"] || B <- rabbit_binding:list_for_source({exchange})]
end.
"""
_ADD = """
case rabbit_binding:add({binding}, <<"guest">>) of
  ok -> "there";
  {{error, {{resources_missing, _}}}} -> "gone";
  Other -> io_lib:format("~0p", [Other])
end.
"""
_ALARMS = '[io_lib:format("~0p~n", [A]) || {{resource_limit, disk, _}, _} = A <- rabbit_alarm:get_alarms()].'
_BLOCKED = """
[io_lib:format("~p~n", [P]) || [{pid, P}, {state, blocked}] <- rabbit_networking:connection_info_all([pid, state])].
"""
# One expression, so that what was counted is what is taken back.
_TAKE_BACK = """
case rabbit_amqqueue:lookup({queue}) of
  {{error, _}} -> "none";
  {{ok, Q}} ->
    [{{messages_unacknowledged, Unacked}}] = rabbit_amqqueue:info(Q, [messages_unacknowledged]),
    if Unacked < {count} -> "few";
      true ->
        Pids = lists:usort([proplists:get_value(connection, rabbit_channel:info(element(1, C), [connection]))
          || C <- rabbit_amqqueue:consumers(Q)]),
        [rabbit_networking:close_connection(P, "pytest-chaos takes deliveries back") || P <- Pids],
        io_lib:format("~p ~p", [Unacked, length(Pids)])
    end
end.
"""


def make(name: str, direct: str, verb: str, params: Mapping[str, Any]) -> Disturbance:
    """Make what carries ``verb`` out; raise FaultError with what works instead where there is no way."""
    if verb == "poison":
        # Without a key the channel is a queue, which the default exchange reaches by its name.
        to = None if params.get("key") else ("", str(params["channel"]))
        return Poison(name, lambda: RabbitPublisher(name, plain(direct)), params, to=to)
    kinds: dict[str, Callable[[str, str, Mapping[str, Any]], Disturbance]] = {
        "unbind": Unbound,
        "fill": Full,
        "redeliver": TakenBack,
    }
    if verb not in kinds:
        msg = f"{name} is a RabbitMQ: {_ELSEWHERE.get(verb, f'it cannot be made to {verb}')}"
        raise FaultError(msg)
    return kinds[verb](name, direct, params)


class _Node:
    """What all have in common: the node, asked in its own language."""

    def __init__(self, name: str, direct: str) -> None:
        self.name = name
        self._erlang = Erlang.of(direct)

    def ask(self, expressions: str) -> list[str]:
        """Give the lines of the answer; raise ChaosError when there is none."""
        told = self._erlang.ask(expressions)
        if told is None:
            # The process may have gone with the node that it was connected to.
            told = self._erlang.ask(expressions)
        if told is None:
            msg = f"{self.name}: its node does not answer, or there is no Erlang (erl) on PATH to ask it with"
            raise ChaosError(msg)
        return told

    def close(self) -> None:
        """End the process."""
        self._erlang.close()


class Unbound:
    """An exchange without its bindings; they are kept as the node's own terms and put back as such."""

    def __init__(self, name: str, direct: str, params: Mapping[str, Any]) -> None:
        self._node = _Node(name, direct)
        self._exchange = str(params["exchange"])
        self._queue, self._key = str(params.get("queue") or ""), params.get("key")
        self._taken: list[str] = []
        self._firehose = Firehose(name, direct, f"publish.{self._exchange}", _unrouted)

    def apply(self) -> None:
        """Note the bindings, then take them away; raise FaultError when there is none."""
        found = self._node.ask(_BINDINGS.format(exchange=_EXCHANGE.format(name=binary(self._exchange))))
        if found == ["none"]:
            msg = f"Unroutable: exchange={self._exchange!r}: {self._node.name} has no such exchange"
            raise FaultError(msg)
        rows = [(token, *map(_text, told)) for token, *told in (row.split(" ") for row in found)]
        self._firehose.open()
        self._taken = [
            token
            for token, queue, key in rows
            if self._queue in ("", queue) and (self._key is None or self._key == key)
        ]
        if not self._taken:
            known = ", ".join(f"{key!r} to {queue}" for _, queue, key in rows) or "none"
            msg = f"Unroutable: {self._exchange} has no such binding; it has: {known}"
            raise FaultError(msg)
        for token in self._taken:
            self._node.ask(f'ok = rabbit_binding:remove({term(token)}, <<"guest">>), "gone".')

    def undo(self) -> str:
        """Put back what was taken; a binding whose queue or exchange was deleted meanwhile has gone with it."""
        told = [self._node.ask(_ADD.format(binding=term(token)))[0] for token in self._taken]
        wrong = [word for word in told if word not in ("there", "gone")]
        if wrong:
            msg = f"{self._node.name}: a binding of {self._exchange} cannot be put back: {wrong[0]}"
            raise ChaosError(msg)
        gone = told.count("gone")
        without = f"; of {gone} more the queue is gone" if gone else ""
        return f"{self._node.name}: {self._exchange} has {told.count('there')} bindings again{without}"

    def toll(self) -> Toll:
        """Count the messages that the exchange was given since, and that no queue took."""
        self._firehose.drain()
        return _toll(self._firehose.times, f"messages to {self._exchange} were taken by no queue")

    def close(self) -> None:
        """Disconnect."""
        self._firehose.close()
        self._node.close()


class Full:
    """A limit of free disk that no disk has: the node's alarm blocks every connection that publishes."""

    def __init__(self, name: str, direct: str, params: Mapping[str, Any]) -> None:
        del params
        self._node = _Node(name, direct)
        self._before = ""
        self._blocked: dict[str, int] = {}
        self._watch = Watch(self._look, f"blocked-{name}")

    def apply(self) -> None:
        """Note the limit, raise it and wait for the alarm; raise FaultError when there is none."""
        before = self._node.ask("base64:encode(term_to_binary(rabbit_disk_monitor:get_disk_free_limit())).")[0]
        if self._node.ask(_ALARMS):
            msg = f"BrokerFull: {self._node.name} has its disk alarm already"
            raise FaultError(msg)
        self._before = before
        self._node.ask('rabbit_disk_monitor:set_disk_free_limit(1 bsl 60), "set".')
        if not within(_ALARM_S, lambda: self._node.ask(_ALARMS)):
            msg = f"BrokerFull: {self._node.name} raises no disk alarm: it does not watch its disk here"
            raise FaultError(msg)
        self._watch.start()

    def undo(self) -> str:
        """Set the limit back; the proof is that the alarm is gone."""
        self._watch.stop()
        if not self._before:
            return f"{self._node.name}: nothing was changed"
        limit = term(self._before)
        (now,) = self._node.ask(
            f"L = {limit}, rabbit_disk_monitor:set_disk_free_limit(L), "
            "integer_to_list(rabbit_disk_monitor:get_disk_free_limit())."
        )
        if not within(_ALARM_S, lambda: not self._node.ask(_ALARMS)):
            msg = f"{self._node.name}: its disk alarm stays"
            raise ChaosError(msg)
        return f"{self._node.name}: its disk alarm is gone, the limit of free disk is {now} bytes again"

    def toll(self) -> Toll:
        """Count the connections that were blocked: each had something to publish."""
        return _toll(list(self._blocked.values()), "publishing connections were blocked")

    def close(self) -> None:
        """Disconnect."""
        self._watch.stop()
        self._node.close()

    def _look(self) -> bool:
        now = time.monotonic_ns()
        for pid in self._node.ask(_BLOCKED):
            self._blocked.setdefault(pid, now)
        return False


class TakenBack:
    """Consumers' connections closed by the broker while they have messages in hand, once."""

    def __init__(self, name: str, direct: str, params: Mapping[str, Any]) -> None:
        self._node = _Node(name, direct)
        self._queue, self._count = str(params["channel"]), int(params["count"])
        if params.get("group"):
            msg = f"Redeliver: group={params['group']!r}: {name} is a RabbitMQ, its queues have no groups; leave it out"
            raise FaultError(msg)
        self._expression = _TAKE_BACK.format(queue=_QUEUE.format(name=binary(self._queue)), count=self._count)
        self._closed = ""
        self._firehose = Firehose(
            name, direct, f"deliver.{self._queue}", lambda headers: bool(self._closed and headers.get("redelivered"))
        )
        self._watch = Watch(self._look, f"redeliver-{name}")

    def apply(self) -> None:
        """Watch for messages in hand; raise FaultError when there is no such queue."""
        if self._node.ask(
            f"case rabbit_amqqueue:exists({_QUEUE.format(name=binary(self._queue))}) of "
            'true -> "there"; false -> "none" end.'
        ) == ["none"]:
            msg = f"Redeliver: channel={self._queue!r}: {self._node.name} has no such queue"
            raise FaultError(msg)
        self._firehose.open()
        self._watch.start()

    def undo(self) -> str:
        """Watch no more; consumers come back by themselves, or it is their defect."""
        self._watch.stop()
        return f"{self._node.name}: no connection is closed any more; {self._closed or 'none was'}"

    def toll(self) -> Toll:
        """Count the deliveries that the broker itself calls redelivered."""
        self._firehose.drain()
        return _toll(self._firehose.times, f"deliveries of {self._queue} were repeated; {self._closed}")

    def close(self) -> None:
        """Disconnect."""
        self._watch.stop()
        self._firehose.close()
        self._node.close()

    def _look(self) -> bool:
        self._closed = self._closed or "closing"  # what is redelivered from here on is this fault's doing
        told = self._node.ask(self._expression)[0]
        if told in ("few", "none"):
            self._closed = ""
            return False
        unacked, connections = told.split()
        self._closed = f"{connections} connections with {unacked} messages in hand were closed"
        return True


def _unrouted(headers: Mapping[str, Any]) -> bool:
    return not headers.get("routed_queues")


def _text(encoded: str) -> str:
    return bytes.fromhex(encoded).decode(errors="replace")


def _toll(times: list[int], what: str) -> Toll:
    if not times:
        return Toll()
    return Toll(hits=len(times), first_ns=times[0], last_ns=times[-1], proof=f"{len(times)} {what}")
