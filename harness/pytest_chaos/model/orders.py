"""What comes over a control socket: one JSON object a line, read strictly. Pure."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pytest_chaos.errors import ChaosError

NAME_LIMIT = 256
"""Characters of a name."""
_DEEPEST = 64
"""Values within values; nobody orders anything deeper, and what reads it later may have less stack."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HTTP = re.compile(rb"[A-Z]{3,16} [^ ]+ HTTP/\d|PRI \* HTTP/2")


def is_http(line: bytes) -> bool:
    """Whether a line is how HTTP begins: a browser, or whoever makes one send what it likes in a request's body."""
    return _HTTP.match(line) is not None


def read_order(line: bytes) -> dict[str, Any]:
    """Read one line; raise ChaosError saying why it is no order. What is in it is for :func:`check_values`."""
    try:
        order = json.loads(line)
    except (ValueError, RecursionError):
        msg = f"not JSON: {line[:80]!r}"
        raise ChaosError(msg) from None
    if not isinstance(order, dict):
        msg = f"a request is an object with id and op, not {line[:80]!r}"
        raise ChaosError(msg)
    return order


def check_values(value: object, left: int = _DEEPEST) -> None:
    """Refuse what could not be told again: numbers that JSON does not have (RFC 8259), values too deep in values."""
    if isinstance(value, float) and not math.isfinite(value):
        msg = f"{value} is no number in JSON, or too large a one"
        raise ChaosError(msg)
    if isinstance(value, (dict, list)):
        if not left:
            msg = f"values within values are at most {_DEEPEST} deep"
            raise ChaosError(msg)
        for one in value.values() if isinstance(value, dict) else value:
            check_values(one, left - 1)


def name_of(value: object, *, field: str, without: str = "", most: int = NAME_LIMIT) -> str:
    """Give a name; raise ChaosError unless it is a string of 1 to ``most`` characters, none a control character."""
    if (
        isinstance(value, str)
        and 0 < len(value) <= most
        and not _CONTROL.search(value)
        and not any(letter in value for letter in without)
    ):
        return value
    but = f", without {' '.join(without)}" if without else ""
    must = f"must be a non-empty string of at most {most} characters, none of them a control one{but}"
    msg = f"{field}={value!r:.80}: {must}"
    raise ChaosError(msg)
