"""Addresses that a Kafka advertises, rewritten so that its clients stay on their links. Pure.

A Kafka that we start has a listener for each link and advertises the link by itself. One that others started tells
every client where it really is; these functions put the links' addresses there instead: in the answers to Metadata,
FindCoordinator and DescribeCluster, and where Produce, Fetch and the share group's requests name new leaders (KIP-951).
An address that is none of the link's nevertheless is where its clients leave the link: such are counted.
"""

from __future__ import annotations

from pytest_chaos.errors import ChaosError
from pytest_chaos.wire.kafka.api import Shape
from pytest_chaos.wire.kafka.layout import Short, walk

ANY = "*"
NAMING = frozenset({"Metadata", "FindCoordinator", "DescribeCluster"})
"""The requests by which clients learn where the brokers are; other answers name what these have named."""
_MOST = 64
_PORTS = range(1, 65536)


class Advertised:
    """What each broker is called towards the clients of one link.

    ``mapping``: a node id (``"1"``), an address that the broker advertises (``"kafka-1:9092"``; wins over the id) or
    ``"*"`` for every other one, to the ``host:port`` that clients are told; None means ``own``, the link's address. A
    broker that stands nowhere in it keeps its address. Raises ChaosError for anything else.
    """

    def __init__(self, mapping: object, *, own: str) -> None:
        if not isinstance(mapping, dict):
            msg = f"advertise={mapping!r:.80}: must be an object of brokers to addresses, or null"
            raise ChaosError(msg)
        self._mapping = {_key(key): _address(key, own if value is None else value) for key, value in mapping.items()}

    @property
    def told(self) -> frozenset[tuple[str, int]]:
        """The addresses that clients are told in place of the brokers' own."""
        return frozenset(self._mapping.values())

    def rewrite(self, shape: Shape, answer: bytes, at: int) -> bytes:
        """Give the answer (size prefix and header included; its body begins at ``at``) with the addresses replaced.

        All other bytes are the same; an answer without addresses, or one that is not understood, is given back as it
        is. Only the beginning of an answer may be given: what it advertises beyond its end stays.
        """
        if not shape.addresses:
            return answer
        parts: list[bytes] = []
        done = 0
        for start, end, new in self._edits(shape, answer, at):
            parts += (answer[done:start], new)
            done = end
        if not parts:
            return answer
        changed = b"".join((*parts, answer[done:]))
        size = int.from_bytes(answer[:4], "big") + len(changed) - len(answer)
        return size.to_bytes(4, "big") + changed[4:]

    def _edits(self, shape: Shape, answer: bytes, at: int) -> list[tuple[int, int, bytes]]:
        edits: list[tuple[int, int, bytes]] = []
        node = host = tag = None
        grown = within = 0
        try:
            for seen in walk(shape.addresses, answer, at, flexible=shape.flexible):
                letter, _, end, value = seen
                if letter == "N":
                    node = value
                elif letter == "H":
                    host = seen
                elif letter == "T":
                    tag, within = seen, len(edits)
                elif host is not None and (told := self._told(node, host[3], value)) is not None:
                    edits.append((host[1], end, _encoded(*told, flexible=shape.flexible)))
                    grown += len(edits[-1][2]) - (end - host[1])
        except Short:
            pass  # an answer that is only partly here
        if tag is not None and edits[within:]:  # the only field whose size counts addresses; it is the last one
            edits.insert(within, (tag[1], tag[2], _varint(tag[3] + grown)))
        return edits

    def _told(self, node: object, host: str, port: int) -> tuple[str, int] | None:
        if port not in _PORTS:  # no broker: a coordinator that is not there is at ":-1"
            return None
        mapping = self._mapping
        return mapping.get(f"{host}:{port}") or mapping.get(str(node)) or mapping.get(ANY)


class Elsewhere:
    """Counts the addresses that a link's clients are told and that lead off it.

    ``counts``: the link's, by address. ``own`` is the link's own address; what it is told to advertise leads to links
    as well. A name with the link's port is taken for the link: names are the resolver's business.
    """

    def __init__(self, counts: dict[str, int], *, own: tuple[str, int], advertised: Advertised | None) -> None:
        self._counts = counts
        self._own = own
        self._links = {own} | (frozenset[tuple[str, int]]() if advertised is None else advertised.told)

    def read(self, shape: Shape, answer: bytes, at: int) -> None:
        """Take an answer as the client gets it; what it names beyond its end is not seen."""
        if shape.name not in NAMING or not shape.addresses:
            return
        host = ""
        found: set[str] = set()
        try:
            for letter, _, _, value in walk(shape.addresses, answer, at, flexible=shape.flexible):
                if letter == "H":
                    host = value
                elif letter == "P" and value in _PORTS and not self._leads_here(host, value):
                    found.add(f"{host}:{value}")
        except Short:
            pass
        for address in found:
            if address in self._counts or len(self._counts) < _MOST:
                self._counts[address] = self._counts.get(address, 0) + 1

    def _leads_here(self, host: str, port: int) -> bool:
        return (host, port) in self._links or (port == self._own[1] and not _numeric(host))


def _numeric(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _encoded(host: str, port: int, *, flexible: bool) -> bytes:
    """Write a host (1 to 255 bytes) and a port, which stand side by side wherever they stand."""
    text = host.encode()
    size = _varint(len(text) + 1) if flexible else len(text).to_bytes(2, "big")
    return size + text + port.to_bytes(4, "big")


def _varint(value: int) -> bytes:
    """Write an unsigned varint, low groups first."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _key(key: object) -> str:
    if isinstance(key, str):
        if key == ANY or (key.isascii() and key.isdecimal()):
            return key
        if (split := _split(key)) is not None:
            return "{}:{}".format(*split)
    msg = f"advertise: key {key!r:.80}: must be a node id, a host:port that the broker advertises, or *"
    raise ChaosError(msg)


def _address(key: object, value: object) -> tuple[str, int]:
    found = _split(value) if isinstance(value, str) else None
    if found is None:
        msg = f"advertise[{key!r:.80}]={value!r:.300}: must be host:port, host of 1 to 255 bytes, port from 1 to 65535"
        raise ChaosError(msg)
    return found


def _split(text: str) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    number = int(port) if len(port) <= 5 and port.isascii() and port.isdecimal() else 0
    return (host, number) if 0 < len(host.encode(errors="replace")) < 256 and number in _PORTS else None
