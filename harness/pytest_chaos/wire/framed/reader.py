"""What the reader of a broker's protocol tells wire: frames as they come, the calls in them, what answers which. Pure.

A reader belongs to one connection, does no I/O and changes no byte by itself: the frames that it gives are, joined, the
bytes that it took (but for what ``split_acks`` allows, and for addresses that a link is told to advertise). What it
does not know it passes on as a frame that means nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

Side = Literal["caller", "callee"]
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class BadFrame(ValueError):  # noqa: N818 - it says what came, not that somebody erred
    """These bytes are no frame of the protocol: from here on the connection is relayed as it is.

    Its text is the reason that people read and that wire counts by: a few fixed words, nothing of the bytes (``TLS``).
    Frames that were complete before the bad one and were not given yet are not given any more: they are unread bytes.
    """


@dataclass(slots=True)
class Call:
    """Something that one side asks of the other. Nobody changes it; to freeze it would cost more than to read it.

    ``id`` is the call's own among those open on its connection. ``operation`` is what rules match and attempts are
    named by: ``Produce orders``, ``XADD user.activity``, ``publish microservices_events user.created``, ``deliver
    email.user.created``. ``headers`` (lower-case names) are the message's own, as far as they can be read.
    """

    id: Hashable
    operation: str
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    by: Side = "caller"
    """Who asks: a broker that delivers a message asks for its acknowledgement."""
    answered: bool = True
    """Whether an answer will come; a call without one ends when it is handed on."""
    background: bool = False
    """A poll, a heartbeat, a handshake: no traffic of anybody's operation; recorded only when a rule acts on it."""
    marker: str = ""
    body_hash: str = ""


@dataclass(slots=True)
class Frame:
    """Bytes that go on together; without ``begins`` and ``answers`` they mean nothing here. Nobody changes it, either.

    Both are set where the answer is also something that rules may name (an acknowledgement); no bytes, where calls end
    though nothing answers them.
    """

    raw: bytes
    begins: Call | None = None
    answers: tuple[Hashable, ...] = ()
    """The ids of the calls that this frame ends (an acknowledgement of many messages ends many)."""
    error: str = ""
    """What the answer says went wrong, in the protocol's own word (``NOT_LEADER``, ``nack``, ``WRONGTYPE``)."""
    lane: Hashable = None
    """Frames of one direction and lane keep their order: what comes behind a held one waits (AMQP: the channel). None:
    waits for nobody. Where ``in_order``, the whole direction is one lane, whatever stands here."""
    more: bool = False
    """Whether this is only a part, of something too large to be collected: the next frames of its direction and lane
    are its other parts, up to and with the first that has ``more`` False. ``begins`` or ``answers`` stand on the first
    part, ``error`` and ``body_hash`` on any."""
    body_hash: str = ""
    """Of a call that came in parts, once it is known; else ``Call.body_hash``."""


class Reader(Protocol):
    """One connection's reader. Bytes of an incomplete frame are kept until the rest comes."""

    name: str
    """The protocol's name in attempts: ``amqp``, ``kafka``, ``resp``."""
    in_order: bool
    """Whether answers come in the order of the calls, so that those behind a held one must wait."""
    split_acks: bool
    """Set by wire before each reading: whether rules are in force on the link. A frame that answers several calls may
    then be given as several frames that answer one each, so that one of them can be lost. A reader without such frames
    only has the attribute."""

    def from_caller(self, data: bytes) -> list[Frame]:
        """Take the caller's bytes; give the frames that are complete. Raises BadFrame; :meth:`unread` has the rest."""

    def from_callee(self, data: bytes) -> list[Frame]:
        """Take the callee's bytes; give the frames that are complete. Raises BadFrame; :meth:`unread` has the rest."""

    def unread(self, side: Side) -> bytes:
        """Give (and forget) the side's bytes that were taken and are in no frame yet."""
