"""The methods of AMQP 0-9-1 that a caller waits for, as a table: where their names stand and what answers them. Pure.

Ids and arguments are those of the specification's XML with RabbitMQ's extensions (confirm, basic.nack, exchange.bind).
"""

from __future__ import annotations

from dataclasses import dataclass

from pytest_chaos.wire.amqp.values import number, strings


def method(class_id: int, method_id: int) -> int:
    """Give a method's number as it stands in front of its arguments (4 bytes)."""
    return class_id << 16 | method_id


CONNECTION_TUNE, CONNECTION_TUNE_OK = method(10, 30), method(10, 31)
CONNECTION_OPEN, CONNECTION_CLOSE, CONNECTION_CLOSE_OK = method(10, 40), method(10, 50), method(10, 51)
CHANNEL_OPEN, CHANNEL_CLOSE, CHANNEL_CLOSE_OK = method(20, 10), method(20, 40), method(20, 41)
QUEUE_DECLARE, QUEUE_DECLARE_OK = method(50, 10), method(50, 11)
CONSUME, CONSUME_OK, CANCEL, CANCEL_OK = method(60, 20), method(60, 21), method(60, 30), method(60, 31)
PUBLISH, RETURN, DELIVER = method(60, 40), method(60, 50), method(60, 60)
GET, GET_OK, GET_EMPTY = method(60, 70), method(60, 71), method(60, 72)
ACK, REJECT, RECOVER_ASYNC, RECOVER, NACK = (
    method(60, 80), method(60, 90), method(60, 100), method(60, 110), method(60, 120),
)  # fmt: skip
CONFIRM_SELECT = method(85, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A method that is answered on its channel, in order.

    Its arguments begin with ``skip`` bytes and ``strings`` short strings, of which the first ``named`` stand in the
    operation; then comes a byte of bits, one of which may say that no answer is wanted.
    """

    word: str
    ok: int
    skip: int = 0
    strings: int = 0
    named: int = 0
    no_wait: int | None = None
    background: bool = False

    def read(self, payload: bytes) -> tuple[list[str], bool, int]:
        """Give the strings, whether an answer is wanted, and the byte of bits (0: it has none). Raises BadFrame."""
        found, at = strings(payload, 4 + self.skip, self.strings)
        bits = payload[at] if self.no_wait is not None and number(payload, at, 1) else 0
        return found, self.no_wait is None or not bits >> self.no_wait & 1, bits

    def operation(self, names: list[str]) -> str:
        """Give what rules match."""
        return " ".join((self.word, *names[: self.named]))


REQUESTS: dict[int, Request] = {
    CONNECTION_OPEN: Request(word="connect", ok=method(10, 41), strings=1, named=1, background=True),
    CHANNEL_OPEN: Request(word="channel.open", ok=method(20, 11), background=True),
    method(20, 20): Request(word="channel.flow", ok=method(20, 21), background=True),
    method(40, 10): Request(word="exchange.declare", ok=method(40, 11), skip=2, strings=2, named=1, no_wait=4),
    method(40, 20): Request(word="exchange.delete", ok=method(40, 21), skip=2, strings=1, named=1, no_wait=1),
    method(40, 30): Request(word="exchange.bind", ok=method(40, 31), skip=2, strings=3, named=3, no_wait=0),
    method(40, 40): Request(word="exchange.unbind", ok=method(40, 51), skip=2, strings=3, named=3, no_wait=0),
    QUEUE_DECLARE: Request(word="declare", ok=QUEUE_DECLARE_OK, skip=2, strings=1, named=1, no_wait=4),
    method(50, 20): Request(word="bind", ok=method(50, 21), skip=2, strings=3, named=3, no_wait=0),
    method(50, 30): Request(word="purge", ok=method(50, 31), skip=2, strings=1, named=1, no_wait=0),
    method(50, 40): Request(word="delete", ok=method(50, 41), skip=2, strings=1, named=1, no_wait=2),
    method(50, 50): Request(word="unbind", ok=method(50, 51), skip=2, strings=3, named=3),
    method(60, 10): Request(word="qos", ok=method(60, 11), background=True),
    CONSUME: Request(word="consume", ok=CONSUME_OK, skip=2, strings=2, named=1, no_wait=3),
    CANCEL: Request(word="cancel", ok=CANCEL_OK, strings=1, named=1, no_wait=0),
    GET: Request(word="get", ok=GET_OK, skip=2, strings=1, named=1),
    CONFIRM_SELECT: Request(word="confirm.select", ok=method(85, 11), no_wait=0, background=True),
    method(90, 10): Request(word="tx.select", ok=method(90, 11), background=True),
    method(90, 20): Request(word="tx.commit", ok=method(90, 21)),
    method(90, 30): Request(word="tx.rollback", ok=method(90, 31)),
}

_OF_QUEUES = frozenset({QUEUE_DECLARE, method(50, 20), method(50, 30), method(50, 40), method(50, 50), CONSUME, GET})
"""Their first string is a queue's name; the empty one means the channel's last declared queue."""


def means_last_queue(number_: int, names: list[str]) -> bool:
    """Whether a method speaks of the queue that its channel declared last, without naming it."""
    return number_ in _OF_QUEUES and number_ != QUEUE_DECLARE and not names[0]


OKS = frozenset(request.ok for request in REQUESTS.values()) | {GET_EMPTY}
"""What answers those methods."""
