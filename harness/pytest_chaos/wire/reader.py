"""What the reader of a broker's protocol tells wire: frames as they come, the calls in them, what answers which. Pure.

A reader belongs to one connection, does no I/O and changes no byte by itself: the frames that it gives are, joined, the
bytes that it took. What it does not know it passes on as a frame that means nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Side = Literal["caller", "callee"]


class BadFrame(ValueError):  # noqa: N818 - it says what came, not that somebody erred
    """These bytes are no frame of the protocol: from here on the connection is relayed as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Something that one side asks of the other.

    ``id`` is the call's own among those open on its connection. ``operation`` is what rules match and attempts are
    named by: ``Produce orders``, ``XADD user.activity``, ``publish microservices_events user.created``, ``deliver
    email.user.created``. ``headers`` (lower-case names) are the message's own, as far as they can be read.
    """

    id: Hashable
    operation: str
    headers: Mapping[str, str] = field(default_factory=dict)
    by: Side = "caller"
    """Who asks: a broker that delivers a message asks for its acknowledgement."""
    answered: bool = True
    """Whether an answer will come; a call without one ends when it is handed on."""
    background: bool = False
    """A poll, a heartbeat, a handshake: no traffic of anybody's operation; recorded only when a rule acts on it."""
    marker: str = ""
    body_hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Bytes that go on together. At most one of ``begins`` and ``answers`` is set; neither: they mean nothing here."""

    raw: bytes
    begins: Call | None = None
    answers: tuple[Hashable, ...] = ()
    """The ids of the calls that this frame ends (an acknowledgement of many messages ends many)."""
    error: str = ""
    """What the answer says went wrong, in the protocol's own word (``NOT_LEADER``, ``nack``, ``WRONGTYPE``)."""


class Reader(Protocol):
    """One connection's reader. Bytes of an incomplete frame are kept until the rest comes."""

    name: str
    """The protocol's name in attempts: ``amqp``, ``kafka``, ``resp``."""
    in_order: bool
    """Whether answers come in the order of the calls, so that those behind a held one must wait."""

    def from_caller(self, data: bytes) -> list[Frame]:
        """Take the caller's bytes; give the frames that are complete. Raises BadFrame; :meth:`unread` has the rest."""

    def from_callee(self, data: bytes) -> list[Frame]:
        """Take the callee's bytes; give the frames that are complete. Raises BadFrame; :meth:`unread` has the rest."""

    def unread(self, side: Side) -> bytes:
        """Give (and forget) the side's bytes that were taken and are in no frame yet."""
