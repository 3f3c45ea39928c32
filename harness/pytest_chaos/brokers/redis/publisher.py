"""The driver's XADD."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pytest_chaos.brokers.base import Body, encoded
from pytest_chaos.errors import ChaosError, PublishError


class RedisPublisher:
    """Appends entries to streams, on a connection of its own for each: an XADD is never sent twice."""

    def __init__(self, name: str, address: str) -> None:
        try:
            import redis  # noqa: PLC0415 - an extra
            from redis.backoff import NoBackoff  # noqa: PLC0415
            from redis.retry import Retry  # noqa: PLC0415
        except ImportError as missing:
            msg = f"{name}: to publish to a Redis install the extra: pip install 'pytest-chaos[redis]'"
            raise ChaosError(msg) from missing
        self._library: Any = redis
        self._once = Retry(NoBackoff(), 0)
        self._name = name
        self._address = address

    def publish(self, channel: str, body: Body, *, key: str, headers: Mapping[str, str], timeout_s: float) -> str:
        """Append one entry: an object's fields, else ``data``, and the headers as fields; give the entry's id."""
        if key:
            msg = f"{self._name}: key={key!r}: an entry of a stream has none; leave it out"
            raise ChaosError(msg)
        fields: dict[Any, Any] = {**_fields(body), **headers}
        client = self._library.Redis.from_url(
            self._address, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=self._once
        )
        try:
            return bytes(client.xadd(channel, fields)).decode()
        except self._library.RedisError as wrong:
            refused = isinstance(wrong, self._library.ResponseError) or _refused(wrong)
            raise PublishError(f"{self._name}: {channel}: {wrong}", certain=refused) from wrong
        finally:
            client.close()

    def close(self) -> None:
        """Nothing is kept open."""


def _fields(body: Body) -> dict[str, str | bytes]:
    if not isinstance(body, Mapping):
        return {"data": body}
    encoded(body)  # says what cannot be written
    return {name: value if isinstance(value, (str, bytes)) else json.dumps(value) for name, value in body.items()}


def _refused(wrong: BaseException | None) -> bool:
    while wrong is not None:
        if isinstance(wrong, ConnectionRefusedError):
            return True
        wrong = wrong.__cause__ or wrong.__context__
    return False
