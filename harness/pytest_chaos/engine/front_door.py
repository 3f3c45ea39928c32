"""PyPI's ``toxiproxy-python``, bound to this run's Toxiproxy for the length of a test.

Its host and port are attributes of a class: there can be one server a process, and both are set back. Its requests
have no time-out: here they have one. What it changes is noted, so that a verdict says what was in force; what that hit
is not known, so that it proves nothing.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from pytest_chaos.engine.clock import now_ns
from pytest_chaos.errors import ChaosError, PartMissing
from pytest_chaos.model.history import FaultRecord

_TIMEOUT_S = 10.0
_PATH = re.compile(r"^/proxies/([^/]+)(?:/toxics(?:/([^/]+))?)?$")
_one_a_process = threading.Lock()


class Changes:
    """What was done through the client, as records of faults without hits."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], FaultRecord] = {}
        self._ended: list[FaultRecord] = []

    def records(self) -> tuple[FaultRecord, ...]:
        """Give every toxic, disabled and destroyed proxy so far, in order."""
        found = (*self._ended, *self._records.values())
        return tuple(sorted(found, key=lambda one: int(one.id.rpartition("-")[2])))

    def lift_all(self) -> None:
        """Note that everything is over."""
        for key in list(self._records):
            self._lift(key)

    def note(self, verb: str, path: str, body: Mapping[str, Any]) -> None:
        """Note a request that the server did not refuse."""
        if verb == "POST" and path == "/reset":
            self.lift_all()
            return
        found = _PATH.match(path)
        if found is None:
            return
        proxy, toxic = unquote(found[1]), unquote(found[2] or "")
        if verb == "DELETE" and toxic:
            self._lift((proxy, toxic))
        elif verb == "DELETE":
            self._begin((proxy, ""), "destroyed proxy", {})
        elif path.endswith("/toxics"):
            attributes = {name: str(value) for name, value in dict(body.get("attributes") or {}).items()}
            said = {"stream": str(body.get("stream", "")), "toxicity": str(body.get("toxicity", 1.0)), **attributes}
            self._begin((proxy, str(body.get("name", ""))), f"toxic {body.get('type', '')}", said)
        elif body.get("enabled") is False:
            self._begin((proxy, ""), "disabled proxy", {})
        elif body.get("enabled") is True:
            self._lift((proxy, ""))

    def _begin(self, key: tuple[str, str], kind: str, params: dict[str, str]) -> None:
        self._lift(key)
        number = len(self._records) + len(self._ended) + 1
        self._records[key] = FaultRecord(
            id=f"toxiproxy-{number}",
            kind=kind,
            target=key[0],
            params=params,
            engine="toxiproxy-python",
            installed_ns=now_ns(),
        )

    def _lift(self, key: tuple[str, str]) -> None:
        record = self._records.pop(key, None)
        if record is not None:
            self._ended.append(dataclasses.replace(record, lifted_ns=now_ns()))


@contextmanager
def one_a_process() -> Iterator[None]:
    """Have the package for oneself.

    Raises PartMissing when it is not installed, ChaosError when somebody in this process has it.
    """
    try:
        import toxiproxy  # noqa: F401, PLC0415 - an extra
    except ImportError:
        msg = (
            "the toxiproxy fixture hands out the client of PyPI's toxiproxy-python, which is not installed: "
            "pip install 'pytest-chaos[toxiproxy-python]'"
        )
        raise PartMissing(msg) from None
    if not _one_a_process.acquire(blocking=False):
        msg = "toxiproxy-python is bound to a server already, and its address is one for the whole process: leave that"
        raise ChaosError(msg)
    try:
        yield
    finally:
        _one_a_process.release()


@contextmanager
def bound(address: str, changes: Changes) -> Iterator[Any]:
    """Give a ``toxiproxy.Toxiproxy`` that speaks to ``address`` (``host:port``); note what it changes."""
    from toxiproxy import Toxiproxy  # noqa: PLC0415 - an extra
    from toxiproxy.api import APIConsumer  # noqa: PLC0415

    before = {name: APIConsumer.__dict__[name] for name in ("host", "port", "get", "post", "delete")}
    host, _, port = address.rpartition(":")
    try:
        APIConsumer.host, APIConsumer.port = host, int(port)
        for verb in ("get", "post", "delete"):
            setattr(APIConsumer, verb, _noting(verb.upper(), before[verb].__func__, changes))
        yield Toxiproxy()
    finally:
        for name, value in before.items():
            setattr(APIConsumer, name, value)
        changes.lift_all()


def _noting(verb: str, plain: Any, changes: Changes) -> Any:
    """Wrap one of the client's class methods: bounded in time, and noted unless the server refused."""

    def ask(cls: type, url: str, *arguments: Any, **named: Any) -> Any:
        named.setdefault("timeout", _TIMEOUT_S)
        answer = plain(cls, url, *arguments, **named)
        if answer.ok and verb != "GET":
            changes.note(verb, url, named.get("json") or {})
        return answer

    return classmethod(ask)
