"""A client for Toxiproxy's HTTP API: every call bounded, every attribute checked, every error told apart.

It blocks; call it in a thread (``asyncio.to_thread``) from an event loop. One instance speaks to one server and may be
used from several threads: each call has a connection of its own. The server takes a misspelt attribute for 0, and some
values end it (``slicer`` of average 0, a negative bandwidth), so :func:`check` refuses both before anything is sent.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pytest_chaos.errors import ChaosError, FaultError

_CONNECT_S = 2.0
_READ_S = 5.0
_OLD_METHOD = 405
_MS = (0, 600_000)
# Toxic -> attribute -> (lowest, highest). reset_peer sleeps and cannot be removed meanwhile, hence its short bound.
_BOUNDS: dict[str, dict[str, tuple[int, int]]] = {
    "latency": {"latency": _MS, "jitter": _MS},
    "bandwidth": {"rate": (0, 10_000_000)},
    "slow_close": {"delay": _MS},
    "timeout": {"timeout": _MS},
    "reset_peer": {"timeout": (0, 4_000)},
    "slicer": {"average_size": (1, 65_536), "size_variation": (0, 65_535), "delay": (0, 10_000_000)},
    "limit_data": {"bytes": (0, 2**31)},
}


class ToxiproxyError(ChaosError):
    """The server answered something else than asked for; ``status`` is its HTTP status."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NotFound(ToxiproxyError):  # noqa: N818 - the server's own words, told apart by name
    """No such proxy or toxic."""


class Exists(ToxiproxyError):  # noqa: N818
    """A proxy or toxic of that name is there already."""


class Invalid(ToxiproxyError):  # noqa: N818
    """The server refused the body."""


class PortInUse(ToxiproxyError):  # noqa: N818
    """The address that a proxy should listen on is taken."""


class Wedged(ToxiproxyError):  # noqa: N818
    """The server did not answer in time or says 503: its control plane is stuck behind a deaf connection."""


class ServerGone(ToxiproxyError):  # noqa: N818
    """Nobody listens at the server's address, or it hung up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toxic:
    """One toxic as the server knows it. ``attributes`` in the server's own units."""

    name: str
    type: str
    stream: str = "downstream"
    toxicity: float = 1.0
    attributes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """One proxy as the server knows it; ``listen`` is the address that it really has."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: tuple[Toxic, ...] = ()


def check(toxic: str, attributes: Mapping[str, object], *, toxicity: float = 1.0) -> None:
    """Raise FaultError on a toxic, attribute or value that the server would not refuse but get wrong."""
    if toxic not in _BOUNDS:
        msg = f"toxic={toxic!r}: Toxiproxy has no such toxic; it has: {', '.join(sorted(_BOUNDS))}"
        raise FaultError(msg)
    bounds = _BOUNDS[toxic]
    for name, value in attributes.items():
        if name not in bounds:
            msg = f"{toxic}: it has no attribute {name!r} (Toxiproxy would take it for 0); it has: {', '.join(bounds)}"
            raise FaultError(msg)
        low, high = bounds[name]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            msg = f"{toxic}: {name}={value!r}: must be a whole number from {low} to {high}"
            raise FaultError(msg)
    average, variation = int(str(attributes.get("average_size", 0))), int(str(attributes.get("size_variation", 0)))
    if toxic == "slicer" and not variation < average:
        msg = f"slicer: average_size={average}: must be given, and larger than size_variation (else the server dies)"
        raise FaultError(msg)
    if not 0 <= toxicity <= 1:
        msg = f"{toxic}: toxicity={toxicity!r}: must be from 0 to 1"
        raise FaultError(msg)


def knows(toxic: str, attributes: Mapping[str, object]) -> bool:
    """Whether Toxiproxy has words for this toxic and all its attributes."""
    return toxic in _BOUNDS and attributes.keys() <= _BOUNDS[toxic].keys()


class ToxiproxyClient:
    """Speaks to the server at ``host:port``.

    ``timeout_s`` arguments bound a call as a whole. Raises the errors above; a call that ran out of time is Wedged.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)

    def version(self, *, timeout_s: float = _READ_S) -> str:
        """Give the version that the server reports."""
        return str(self._call("GET", "/version", timeout_s=timeout_s)["version"])

    def proxies(self, *, timeout_s: float = _READ_S) -> dict[str, Proxy]:
        """List all proxies by name."""
        found = self._call("GET", "/proxies", timeout_s=timeout_s)
        return {name: _proxy(row) for name, row in found.items()}

    def proxy(self, name: str, *, timeout_s: float = _READ_S) -> Proxy:
        """Give one proxy; raise NotFound."""
        return _proxy(self._call("GET", _path(name), timeout_s=timeout_s))

    def create(
        self, name: str, *, listen: str, upstream: str, enabled: bool = True, timeout_s: float = _READ_S
    ) -> Proxy:
        """Create a proxy; port 0 in ``listen`` lets the server choose. Raise Exists, Invalid or PortInUse.

        Created disabled, it can be given toxics before the first connection: ``update(name, enabled=True)`` then opens
        it.
        """
        body = {"name": name, "listen": listen, "upstream": upstream, "enabled": enabled}
        return _proxy(self._call("POST", "/proxies", body, timeout_s=timeout_s))

    def update(
        self, name: str, *, upstream: str | None = None, enabled: bool | None = None, timeout_s: float = _READ_S
    ) -> Proxy:
        """Change a proxy: a new upstream or ``enabled=False`` ends its connections."""
        changes: dict[str, Any] = {}
        if upstream is not None:
            changes["upstream"] = upstream
        if enabled is not None:
            changes["enabled"] = enabled
        return _proxy(self._change(_path(name), changes, timeout_s))

    def delete(self, name: str, *, timeout_s: float = _READ_S) -> None:
        """Remove a proxy with its toxics and connections; raise NotFound."""
        self._call("DELETE", _path(name), timeout_s=timeout_s)

    def add_toxic(self, proxy: str, toxic: Toxic, *, timeout_s: float = _READ_S) -> Toxic:
        """Add a toxic to a proxy's open and future connections; raise FaultError, NotFound, Exists or Invalid."""
        check(toxic.type, toxic.attributes, toxicity=toxic.toxicity)
        body = {
            "name": toxic.name,
            "type": toxic.type,
            "stream": toxic.stream,
            "toxicity": toxic.toxicity,
            "attributes": toxic.attributes,
        }
        return _toxic(self._call("POST", f"{_path(proxy)}/toxics", body, timeout_s=timeout_s))

    def update_toxic(self, proxy: str, toxic: Toxic, *, timeout_s: float = _READ_S) -> Toxic:
        """Change a toxic's attributes and toxicity (stream and type cannot change); raise FaultError or NotFound."""
        check(toxic.type, toxic.attributes, toxicity=toxic.toxicity)
        changes = {"attributes": toxic.attributes, "toxicity": toxic.toxicity}
        return _toxic(self._change(_path(proxy, toxic.name), changes, timeout_s))

    def remove_toxic(self, proxy: str, toxic: str, *, timeout_s: float = _READ_S) -> None:
        """Remove a toxic; raise NotFound, or Wedged when a connection of the proxy does not move."""
        self._call("DELETE", _path(proxy, toxic), timeout_s=timeout_s)

    def reset(self, *, timeout_s: float = _READ_S) -> None:
        """Enable every proxy and remove every toxic."""
        self._call("POST", "/reset", timeout_s=timeout_s)

    def reset_existing(self, name: str, *, timeout_s: float = _READ_S) -> None:
        """Close and open a proxy again on the same port, so that its open connections really end; its toxics stay."""
        deadline = time.monotonic() + timeout_s
        self.update(name, enabled=False, timeout_s=timeout_s)
        self.update(name, enabled=True, timeout_s=max(0.1, deadline - time.monotonic()))

    def metrics(self, *, timeout_s: float = _READ_S) -> str:
        """Give the Prometheus text; NotFound when the server runs without ``-proxy-metrics``."""
        return str(self._call("GET", "/metrics", timeout_s=timeout_s, raw=True)["text"])

    def _change(self, path: str, changes: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """PATCH; servers before 2.6 only know POST."""
        try:
            return self._call("PATCH", path, changes, timeout_s=timeout_s)
        except ToxiproxyError as refused:
            if refused.status != _OLD_METHOD:
                raise
            return self._call("POST", path, changes, timeout_s=timeout_s)

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, timeout_s: float, raw: bool = False
    ) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        connection = http.client.HTTPConnection(self._host, self._port, timeout=min(_CONNECT_S, timeout_s))
        what = f"Toxiproxy at {self.address}: {method} {path}"
        try:
            connection.connect()
            connection.sock.settimeout(max(0.01, min(_READ_S, deadline - time.monotonic())))
            sent = None if body is None else json.dumps(body)
            connection.request(
                method, path, body=sent, headers={"Content-Type": "application/json", "User-Agent": "pytest-chaos"}
            )
            answer = connection.getresponse()
            content = answer.read()
        except TimeoutError:
            msg = f"{what}: no answer within {timeout_s:g} s"
            raise Wedged(msg) from None
        except (OSError, http.client.HTTPException) as wrong:
            msg = f"{what}: {str(wrong) or type(wrong).__name__}"
            raise ServerGone(msg) from wrong
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise _error(what, answer.status, content)
        if raw:
            return {"text": content.decode(errors="replace")}
        found = json.loads(content) if content else {}
        return found if isinstance(found, dict) else {}


def _error(what: str, status: int, content: bytes) -> ToxiproxyError:
    try:
        said = str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        said = content.decode(errors="replace").strip()[:200]
    msg = f"{what}: {status} {said}"
    if status == http.client.INTERNAL_SERVER_ERROR and "address already in use" in said:
        return PortInUse(msg, status=status)
    kinds = {400: Invalid, 404: NotFound, 409: Exists, 503: Wedged}
    return kinds.get(status, ToxiproxyError)(msg, status=status)


def _path(proxy: str, toxic: str = "") -> str:
    path = f"/proxies/{quote(proxy, safe='')}"
    return f"{path}/toxics/{quote(toxic, safe='')}" if toxic else path


def _toxic(row: Mapping[str, Any]) -> Toxic:
    return Toxic(
        name=str(row["name"]),
        type=str(row["type"]),
        stream=str(row["stream"]),
        toxicity=float(row["toxicity"]),
        attributes={str(name): int(value) for name, value in row["attributes"].items()},
    )


def _proxy(row: Mapping[str, Any]) -> Proxy:
    return Proxy(
        name=str(row["name"]),
        listen=str(row["listen"]),
        upstream=str(row["upstream"]),
        enabled=bool(row["enabled"]),
        toxics=tuple(_toxic(one) for one in row.get("toxics") or ()),
    )
