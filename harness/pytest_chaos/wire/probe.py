"""The harness's own look through a link: one TCP connection to wire and on to the callee, which is no attempt.

Whoever looks tells wire the port that it will come from. wire dials the callee for it, sends nothing, and answers by
how it ends the connection: FIN when the callee took it, RST when not. No rule sees it, and nothing of it is recorded.
"""

from __future__ import annotations

import asyncio
import socket

from pytest_chaos.wire.ends import close_socket, reset_socket

_DIAL_S = 1.0


async def look(sock: socket.socket, upstream: tuple[str, int] | None) -> None:
    """Answer one probe. A stub has no ``upstream``: that wire took the connection is all there is to see."""
    try:
        if upstream is not None:
            async with asyncio.timeout(_DIAL_S):
                _, writer = await asyncio.open_connection(*upstream)
            writer.close()
    except OSError:  # a time-out is one, too
        reset_socket(sock)
    except asyncio.CancelledError:
        reset_socket(sock)
        raise
    else:
        close_socket(sock)
