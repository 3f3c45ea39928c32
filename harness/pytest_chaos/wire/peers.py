"""Who is at the other end of a Unix socket."""

from __future__ import annotations

import os
import socket
import struct

_ROOT = 0
_UCRED = struct.Struct("3i")
"""Process, user and group, as Linux tells them (SO_PEERCRED, unix(7))."""


def stranger(sock: socket.socket | None) -> str:
    """Say why somebody is not to be served, in one sentence; nothing for this user's own processes and root's.

    A socket's mode keeps others out as well; this holds where somebody has loosened it. Systems that do not tell who
    connected are trusted to keep to the mode.
    """
    if sock is None or not hasattr(socket, "SO_PEERCRED"):
        return ""
    _, user, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if user in (_ROOT, os.geteuid()):
        return ""
    return f"user {user} may not give orders here, only user {os.geteuid()}"
