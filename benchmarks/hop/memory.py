"""What proxies keep in memory: with a thousand idle connections, and after a million requests."""

from __future__ import annotations

import contextlib
import resource
import socket
import time

from benchmarks.hop.clients import Http1
from benchmarks.hop.contenders import Contender, contenders
from benchmarks.hop.measure import MANY, Seen, load, missing, server
from benchmarks.hop.processes import rss_mb
from benchmarks.rows import Measured

IDLE = 1000
WARM, REQUESTS = 20_000, 1_000_000
GOAL_PERCENT = 10.0
_FILES = 8192
_KIND = "http1"
_SETTLE_S = 0.5
_ANSWER_S = 10.0


def measure() -> Measured:
    """Look at each contender's resident memory before, with and after."""
    _allow_files()
    seen = Seen()
    with server(_KIND) as port, contenders(_KIND, port) as found:
        for one in (each for each in found if each.pid):
            born = rss_mb(one.pid)
            load(_KIND, one, requests=WARM, connections=MANY)
            warm = rss_mb(one.pid)
            load(_KIND, one, requests=REQUESTS, connections=MANY)
            after = rss_mb(one.pid)
            figures = {"idle": with_idle(one), "born": born, "after": after, "growth": (after / warm - 1) * 100}
            seen.note(one, figures)
    rows = (
        seen.row("born", "RSS at the start", "MB"),
        seen.row("after", f"RSS after {REQUESTS:,} requests", "MB"),
        seen.row("growth", f"RSS growth from {WARM:,} to {REQUESTS:,} requests", "%", digits=2),
        seen.row("idle", f"RSS with {IDLE:,} idle connections besides", "MB"),
    )
    verdict = "met" if rows[2].ours < GOAL_PERCENT else "MISSED"
    goal = f"goal: RSS growth under {GOAL_PERCENT:g} %: {rows[2].ours:g} %: {verdict}"
    return Measured(rows=rows, notes=(*missing(found), goal))


def with_idle(one: Contender) -> float:
    """Open the connections, ask once on each, and tell the memory."""
    (request, *_), size = Http1.requests(0), Http1.size
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", one.port), timeout=_ANSWER_S))
            sock.sendall(request)
            answer = b""
            while not answer.endswith(b"\r\n\r\n" + b"y" * size):
                answer += sock.recv(4096) or _closed(one)
        time.sleep(_SETTLE_S)
        return rss_mb(one.pid)


def _closed(one: Contender) -> bytes:
    msg = f"{one.name} closed an idle connection"
    raise ConnectionError(msg)


def _allow_files() -> None:
    """Let this process and its children have files enough; where that is refused, the connections will say so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _FILES:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, hard), hard))
