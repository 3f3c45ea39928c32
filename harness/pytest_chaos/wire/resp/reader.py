"""RESP, the protocol of Redis: commands and what answers them, in order; what a subscription pushes asks for nothing.

Operations are the command and its first key (``XADD user.activity``, ``SET k``; ``XREADGROUP user.activity``: the first
stream), the command and its subcommand (``CLIENT SETINFO``, ``XGROUP CREATE user.activity``), or the command alone
where it has no key in front (``EVALSHA``, ``MULTI``); ``deliver CHANNEL`` is what a subscription pushes. Nothing of
``AUTH``, ``HELLO``, ``ACL``, ``CONFIG`` and ``MIGRATE`` is told but their names.

Every command is answered once, in order, but for what ``CLIENT REPLY`` silences and for (UN)SUBSCRIBE, which is
confirmed once for each channel: it ends with the last confirmation (naming none, with the first). In MULTI a command's
answer is ``+QUEUED``; what it did is in EXEC's.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import deque
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from pytest_chaos.wire.framed.reader import NO_HEADERS, BadFrame, Call, Frame, Side
from pytest_chaos.wire.resp.scan import KEPT, Piece, Scanner, one_answer, words_of

_ARRAY, _PUSH, _STATUS = ord("*"), ord(">"), ord("+")
_ERRORS = b"-!"
_NAME_LENGTH = 200
_OPEN_LIMIT = 65_536
"""Commands that may wait for their answers, polls included."""
_SUBSCRIPTIONS = frozenset({"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"})
_CONFIRMS = frozenset(name.lower().encode() for name in _SUBSCRIPTIONS)
_DELIVERS = {b"message": 1, b"smessage": 1, b"pmessage": 2}
"""Where in what is pushed the channel stands."""
_SECRET = frozenset({"AUTH", "HELLO", "ACL", "CONFIG", "MIGRATE"})
_WITH_SUBCOMMAND = frozenset(
    {"ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DEBUG", "FUNCTION", "LATENCY", "MEMORY", "MODULE", "OBJECT",
     "PUBSUB", "SCRIPT", "SLOWLOG", "XGROUP", "XINFO"}
)  # fmt: skip
_KEY_BEHIND_SUBCOMMAND = frozenset({"OBJECT", "XGROUP", "XINFO"})
_WITHOUT_KEY = frozenset(
    {"AUTH", "BGREWRITEAOF", "BGSAVE", "DBSIZE", "DISCARD", "ECHO", "EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "EXEC",
     "FAILOVER", "FCALL", "FCALL_RO", "FLUSHALL", "FLUSHDB", "HELLO", "INFO", "KEYS", "LASTSAVE", "MIGRATE", "MONITOR",
     "MULTI", "PING", "QUIT", "RANDOMKEY", "READONLY", "READWRITE", "REPLICAOF", "RESET", "ROLE", "SAVE", "SCAN",
     "SELECT", "SHUTDOWN", "SLAVEOF", "SWAPDB", "TIME", "UNWATCH", "WAIT", "WAITAOF"}
)  # fmt: skip
_BACKGROUND = frozenset(
    {"AUTH", "BLMOVE", "BLMPOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZMPOP", "BZPOPMAX", "BZPOPMIN", "CLIENT", "CLUSTER",
     "COMMAND", "ECHO", "HELLO", "INFO", "MONITOR", "PING", "QUIT", "READONLY", "READWRITE", "RESET", "ROLE", "SELECT",
     "WAIT", "WAITAOF", "XAUTOCLAIM", *_SUBSCRIPTIONS}
)  # fmt: skip
_SPECIAL = frozenset({
    "SYNC", "PSYNC", "XADD", "XREAD", "XREADGROUP", *_SECRET, *_WITH_SUBCOMMAND, *_WITHOUT_KEY, *_BACKGROUND,
})  # fmt: skip
"""Commands of which more is to be known than that they have a key and one answer."""
_MONITORED = re.compile(rb"\d+\.\d+ \[")
_RESET = b"+RESET\r\n"
_IDENTITY = frozenset(
    {"x-correlation-id", "correlation_id", "traceparent", "tracestate", "baggage", "idempotency-key", "message-id"}
)


class RespReader:
    """Reads one connection to a Redis."""

    name = "resp"
    in_order = True

    def __init__(self) -> None:
        self.split_acks = False
        self._asked, self._told = Scanner(inline=True), Scanner()
        self._ids = itertools.count(1)
        self._waiting: deque[tuple[int, int]] = deque()
        """Calls without an answer so far, and how many confirmations of a subscription each waits for (else 0)."""
        self._monitors = False
        self._subscribed = [0, 0]
        """How many channels and patterns, and how many shard channels, the callee says that are subscribed to."""
        self._silent = 0
        """Answers that ``CLIENT REPLY`` keeps back: of so many commands; below 0: of all."""

    def from_caller(self, data: bytes) -> list[Frame]:
        """Take commands. Raises BadFrame; what was not given then is unread."""
        if self._asked.idle and (words := words_of(data)):
            try:
                return [Frame(data, self._call(words, data))]
            except BadFrame:
                self._asked.keep(data)
                raise
        pieces = self._asked.feed(data)
        try:
            return [Frame(raw=piece.raw, more=piece.more, begins=self._begun(piece)) for piece in pieces]
        except BadFrame:
            self._asked.take_back(pieces)
            raise

    def from_callee(self, data: bytes) -> list[Frame]:
        """Take answers and what is pushed. Raises BadFrame; what was not given then is unread."""
        if self._waiting and not self._monitors and self._told.idle and data != _RESET and one_answer(data):
            return [Frame(data, None, (self._waiting.popleft()[0],))]
        return [self._answer(piece) if piece.first else self._rest(piece) for piece in self._told.feed(data)]

    def unread(self, side: Side) -> bytes:
        """Give (and forget) what is in no frame yet."""
        return (self._asked if side == "caller" else self._told).unread()

    # commands

    def _begun(self, piece: Piece) -> Call | None:
        if not (piece.first and piece.items):
            return None
        return self._call(piece.items, b"" if piece.more else piece.raw)

    def _call(self, words: list[bytes], raw: bytes) -> Call:
        """Say what a command asks; ``raw``: all of it, nothing where it is not all here."""
        command, special = _command(words[0])
        if not special and not self._silent and raw:
            if len(self._waiting) >= _OPEN_LIMIT:
                raise BadFrame("too many commands without an answer")
            id_ = next(self._ids)
            self._waiting.append((id_, 0))
            operation = f"{command} {_text(words[1])}" if len(words) > 1 else command
            body_hash = blake2b(raw, digest_size=8).hexdigest()
            return Call(id_, operation, NO_HEADERS, "caller", True, False, "", body_hash)
        if command in ("SYNC", "PSYNC"):
            raise BadFrame("replication")
        answered = self._is_answered(command, words)
        id_ = next(self._ids)
        if answered:
            confirmed = command in _SUBSCRIPTIONS
            self._monitors |= command == "MONITOR"
            if len(self._waiting) >= _OPEN_LIMIT:
                raise BadFrame("too many commands without an answer")
            self._waiting.append((id_, max(1, len(words) - 1) if confirmed else 0))
        background = command in _BACKGROUND or (command in ("XREAD", "XREADGROUP") and _blocks(words))
        return Call(
            id=id_,
            operation=_operation(command, words),
            headers=_fields(words) if command == "XADD" else {},
            answered=answered,
            background=background,
            body_hash="" if background or command in _SECRET or not raw else blake2b(raw, digest_size=8).hexdigest(),
        )

    def _is_answered(self, command: str, words: Sequence[bytes]) -> bool:
        if command == "CLIENT" and len(words) > 2 and words[1].upper() == b"REPLY":
            mode = words[2].upper()
            if mode == b"ON":
                self._silent = 0
            elif mode == b"OFF":
                self._silent = -1
            elif mode == b"SKIP" and not self._silent:
                self._silent = 2
        if self._silent > 0:
            self._silent -= 1
            return False
        return not self._silent

    # answers

    def _answer(self, piece: Piece) -> Frame:
        raw, kind, items = piece.raw, piece.kind, piece.items
        error = _text(items[0].partition(b" ")[0]) if kind in _ERRORS and items else ""
        if kind == _PUSH or (kind == _ARRAY and (any(self._subscribed) or self._confirms_next)):
            pushed = self._pushed(piece)
            if pushed is not None:
                return pushed
        elif kind == _STATUS and items[0] == b"RESET":
            self._subscribed, self._monitors = [0, 0], False
        if not self._waiting or (self._monitors and kind == _STATUS and _MONITORED.match(items[0])):
            return Frame(raw=raw, more=piece.more, error=error)
        return Frame(raw=raw, more=piece.more, answers=(self._waiting.popleft()[0],), error=error)

    @property
    def _confirms_next(self) -> bool:
        return bool(self._waiting and self._waiting[0][1])

    def _pushed(self, piece: Piece) -> Frame | None:
        """Read what a subscription brings; None for what answers a command after all."""
        items = piece.items
        word = items[0] if items else b""
        at = _DELIVERS.get(word, 0)
        if at and len(items) > at:
            call = Call(id=next(self._ids), operation=f"deliver {_text(items[at])}", by="callee", answered=False)
            return Frame(raw=piece.raw, more=piece.more, begins=call)
        if word in _CONFIRMS and len(items) > 2:
            self._subscribed[word in (b"ssubscribe", b"sunsubscribe")] = int(items[2]) if items[2].isdigit() else 0
            return Frame(raw=piece.raw, more=piece.more, answers=self._confirmed())
        return Frame(raw=piece.raw, more=piece.more) if piece.kind == _PUSH else None

    def _confirmed(self) -> tuple[int, ...]:
        if not self._confirms_next:
            return ()  # one more than a subscription was counted to have: it named no channel
        id_, count = self._waiting.popleft()
        if count > 1:
            self._waiting.appendleft((id_, count - 1))
            return ()
        return (id_,)

    @staticmethod
    def _rest(piece: Piece) -> Frame:
        return Frame(raw=piece.raw, more=piece.more)


@functools.lru_cache(maxsize=1024)
def _command(word: bytes) -> tuple[str, bool]:
    """Name a command and say whether it is special: there are few, and they come again and again."""
    command = _text(word).upper()
    return command, command in _SPECIAL


def _operation(command: str, words: Sequence[bytes]) -> str:
    at = 1
    if command in ("XREAD", "XREADGROUP"):
        at = next((at + 1 for at, word in enumerate(words) if word.upper() == b"STREAMS"), len(words))
    elif command in _WITH_SUBCOMMAND and len(words) > 1:
        command = f"{command} {_text(words[1]).upper()}"
        if command.partition(" ")[0] not in _KEY_BEHIND_SUBCOMMAND:
            return command
        at = 2
    elif command in _WITHOUT_KEY:
        return command
    return f"{command} {_text(words[at])}" if at < len(words) else command


def _blocks(words: Sequence[bytes]) -> bool:
    return any(word.upper() == b"BLOCK" for word in itertools.takewhile(lambda word: word.upper() != b"STREAMS", words))


def _fields(words: Sequence[bytes]) -> Mapping[str, str]:
    """Give the fields of an XADD's entry that tell whose it is; they stand behind the entry's id.

    Names and values come in turn up to the end, where there are no options any more to count.
    """
    found: dict[str, str] = {}
    step = 2 if len(words) < KEPT else 1  # where the end is not known, each word may be a name
    for at in range(4 - len(words) % 2 if step == 2 else 3, len(words) - 1, step):
        name = _text(words[at]).lower()
        if name in _IDENTITY:
            found.setdefault(name, _text(words[at + 1]))
    if "correlation_id" in found:
        found.setdefault("x-correlation-id", found.pop("correlation_id"))
    return found


def _text(word: bytes) -> str:
    return word[:_NAME_LENGTH].decode("utf-8", "backslashreplace")
