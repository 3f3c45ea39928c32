"""Proof that a closed port refused somebody: the kernel's own RST, seen as it leaves.

Nobody accepts what is refused, so only the packets tell. Seeing them takes the right to open a packet socket
(CAP_NET_RAW on Linux: root, and many CI containers). Without it nothing is claimed. A SYN alone would prove less: a
firewall may drop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import Callable

_ETH_P_ALL, _OUTGOING, _SO_ATTACH_FILTER = 3, 4, 26
_LOAD_BYTE, _LOAD_HALF, _LOAD_WORD, _IF_EQUAL, _MASK, _GIVE = 0x30, 0x28, 0x20, 0x15, 0x54, 0x06
_TCP, _RST_ACK, _SYN_FIN = 6, 0x14, 0x03
_REMEMBERED = 4096


class Refusals:
    """Counts from now on what an IPv4 port refuses; nobody must listen there. ``refused()`` is called for each.

    Raises OSError where packets cannot be seen.
    """

    def __init__(self, host: str, port: int, refused: Callable[[], None]) -> None:
        self._refused = refused
        self._seen: set[bytes] = set()
        if not hasattr(socket, "AF_PACKET") or ":" in host:
            msg = "packets cannot be seen here"
            raise OSError(msg)
        # Cooked (SOCK_DGRAM): each packet begins with its IP header, whatever the interface.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        try:
            self._socket.setblocking(False)
            _attach(self._socket, _program(host, port))
            with contextlib.suppress(BlockingIOError):
                while True:  # what came before the filter stood may be anything
                    self._socket.recv(1)
            asyncio.get_running_loop().add_reader(self._socket, self.look)
        except OSError:
            self._socket.close()
            raise

    def look(self) -> None:
        """Count what has come up to now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                packet, (_, _, kind, *_) = self._socket.recvfrom(64)
                # A packet over a bridge leaves twice; on loopback it comes in as well.
                whom = packet[16:20] + packet[22:24] + packet[28:32]
                if kind == _OUTGOING and whom not in self._seen:
                    if len(self._seen) >= _REMEMBERED:
                        self._seen.clear()
                    self._seen.add(whom)
                    self._refused()

    def close(self) -> None:
        """Count the last ones, and stop. To be called before anybody listens again."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self.look()
        self._socket.close()


def _program(host: str, port: int) -> list[tuple[int, int, int, int]]:
    """Write the classic BPF program: an IPv4 TCP segment from ``host:port``, RST and ACK, sequence number 0.

    That is how the kernel answers a SYN for a port where nobody listens (RFC 9293, 3.10.7.1); a reset of a connection
    has its next sequence number.
    """
    address = int.from_bytes(socket.inet_aton(host), "big")
    tests = [
        [(_LOAD_BYTE, 0, 0, 0), (_IF_EQUAL, 0, 0, 0x45)],
        [(_LOAD_BYTE, 0, 0, 9), (_IF_EQUAL, 0, 0, _TCP)],
        [(_LOAD_WORD, 0, 0, 12), (_IF_EQUAL, 0, 0, address)],
        [(_LOAD_HALF, 0, 0, 20), (_IF_EQUAL, 0, 0, port)],
        [(_LOAD_WORD, 0, 0, 24), (_IF_EQUAL, 0, 0, 0)],
        [(_LOAD_BYTE, 0, 0, 33), (_MASK, 0, 0, _RST_ACK | _SYN_FIN), (_IF_EQUAL, 0, 0, _RST_ACK)],
    ]
    steps = [step for test in tests for step in test]
    size = len(steps)
    # A failed test jumps to the last instruction, which takes nothing.
    program = [
        (code, 0, size - place, value) if code == _IF_EQUAL else (code, 0, 0, value)
        for place, (code, _, _, value) in enumerate(steps)
    ]
    return [*program, (_GIVE, 0, 0, 64), (_GIVE, 0, 0, 0)]


def _attach(sock: socket.socket, program: list[tuple[int, int, int, int]]) -> None:
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code)
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(buffer)))
