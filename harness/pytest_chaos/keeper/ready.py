"""Readiness of a node: polled every 20 ms on its real port, until it answers, dies, or its time is over."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
from pathlib import Path

from pytest_chaos.errors import StackError
from pytest_chaos.model.plan import ReadySpec
from pytest_chaos.runtimes.base import Running

_POLL_S = 0.02
_ATTEMPT_S = 1.0
_SERVER_ERROR = 500
_TAIL_BYTES = 16_384


async def wait_ready(name: str, spec: ReadySpec, running: Running, log: Path, *, port: str, log_from: int = 0) -> None:
    """Return when the node is ready; raise StackError with its last log lines when it died or its time is over.

    ``port`` names the port to ask when the spec names none; ``log_from`` is where this start's output begins, in bytes.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    asked = spec.port or port
    why = "nothing was tried"
    while loop.time() - began < spec.timeout_s:
        if running.exited.done():
            raise StackError(died(name, str(running.exited.result()), log, log_from=log_from))
        why = await _look(spec, running, log, log_from, asked)
        if not why and not running.exited.done():
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(running.exited), _POLL_S)
    msg = (
        f"{name}: not ready within {spec.timeout_s:g} s; polled {_target(spec, running, asked)}: {why}{_nobody(why)}. "
        f"Correct `ready` of the node, or give it a longer ready_timeout_s.\n{last_lines(name, log, log_from=log_from)}"
    )
    raise StackError(msg)


async def connects(address: str, *, timeout_s: float = _ATTEMPT_S) -> str:
    """Give the empty string when a TCP connection to ``host:port`` can be made, else why not."""
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), timeout_s)
    except TimeoutError:
        return f"no answer to a connect within {timeout_s:g} s"
    except OSError as wrong:
        return _why(wrong)
    writer.close()
    return ""


def died(name: str, how: str, log: Path, *, log_from: int = 0) -> str:
    """Say that a node died at its start, with its last lines, and what is often behind it."""
    said = f"{name}: died at its start ({how}).\n{last_lines(name, log, log_from=log_from)}"
    if how == "exit code 0":
        return f"{said}\nIts command has to stay in the foreground as long as the node runs."
    if how.startswith("exit code"):
        return f"{said}\nAll nodes start at once: one that needs another has to wait until that answers."
    return said


def last_lines(name: str, log: Path, *, count: int = 20, log_from: int = 0) -> str:
    """Give the last lines of a node's output, under a heading; says so when there are none."""
    try:
        with log.open("rb") as output:
            output.seek(max(log_from, log.stat().st_size - _TAIL_BYTES))
            lines = output.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        lines = []
    if not lines:
        return f"{name} wrote no output."
    return "\n".join([f"last lines of {name}:", *(f"  {line}" for line in lines)])


async def _look(spec: ReadySpec, running: Running, log: Path, log_from: int, port: str) -> str:
    if spec.kind == "log":
        return _look_in_log(spec.pattern, log, log_from)
    if spec.kind == "http":
        return await _ask(running.address(port), spec.path)
    return await connects(running.address(port))


def _look_in_log(pattern: str, log: Path, log_from: int) -> str:
    try:
        with log.open("rb") as output:
            output.seek(log_from)
            text = output.read().decode(errors="replace")
    except OSError:
        text = ""
    return "" if re.search(pattern, text, re.MULTILINE) else f"no line matches {pattern!r}"


async def _ask(address: str, path: str) -> str:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_ATTEMPT_S):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAccept: */*\r\n\r\n".encode()
                )
                line = (await reader.readline()).decode(errors="replace").split()
            finally:
                writer.close()
    except TimeoutError:
        return f"no answer within {_ATTEMPT_S:g} s"
    except OSError as wrong:
        return _why(wrong)
    except ValueError:
        return "its answer was not HTTP"
    if len(line) < 2 or not line[1].isdigit():
        return "its answer was not HTTP"
    return "" if int(line[1]) < _SERVER_ERROR else f"it answered {line[1]}"


def _why(wrong: OSError) -> str:
    # The event loop words a refused connect in its own way; the kernel's word is the one that people know.
    return os.strerror(wrong.errno) if wrong.errno else str(wrong)


def _nobody(why: str) -> str:
    refused = why == os.strerror(errno.ECONNREFUSED)
    return " (it has to listen on IPv4, on the port that its environment tells it)" if refused else ""


def _target(spec: ReadySpec, running: Running, port: str) -> str:
    if spec.kind == "log":
        return "its output"
    where = running.address(port)
    return f"http://{where}{spec.path}" if spec.kind == "http" else f"tcp {where}"
