"""The proof of an undo on a link: a TCP connection of the harness itself through wire and on to the callee.

wire knows it by its port, lets no rule see it and records nothing (``wire/probe.py``): it is never in a History.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from pytest_chaos.errors import UndoError
from pytest_chaos.keeper.ready import connects

_LIMIT_S = 2.0
_ONE_S = 1.5
_AGAIN_S = 0.05
_CALLEE_S = 0.2
Announce = Callable[[int], Awaitable[None]]


async def through(link: str, address: str, upstream: Callable[[], str], announce: Announce) -> str:
    """Look through a link until it answers; say so. Raise UndoError when it does not within 2 s though its callee does.

    ``upstream`` says where the link leads now, if anywhere; ``announce`` tells wire the port that a probe comes from.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _LIMIT_S
    callee = upstream()
    while True:
        why = await _once(address, announce)
        if not why:
            return f"a TCP connection through {link} reached {'its callee' if callee else 'its stub'}"
        if callee and not upstream():
            return f"{link} leads nowhere: its callee has ended meanwhile"
        if callee and (ill := await connects(upstream(), timeout_s=_CALLEE_S)):
            return f"{link} is open, but its callee takes no connection itself ({ill})"
        if loop.time() > deadline:
            msg = f"a TCP connection through {link} failed ({why}), though its callee takes one"
            raise UndoError(msg)
        await asyncio.sleep(_AGAIN_S)


async def _once(address: str, announce: Announce) -> str:
    """Connect and wait for wire's FIN; give why not, or nothing."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.bind((host, 0))
            await announce(probe.getsockname()[1])
            async with asyncio.timeout(_ONE_S):
                await loop.sock_connect(probe, (host, int(port)))
                await loop.sock_recv(probe, 1)
        except TimeoutError:
            return f"no answer within {_ONE_S:g} s"
        except OSError as wrong:
            return wrong.strerror or str(wrong)
    return ""
