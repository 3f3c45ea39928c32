"""What joins the events of one message: its marker, correlation id and trace context, read from headers and payload."""

from __future__ import annotations

import json
from collections.abc import Mapping

DEFAULT_MARKER = "/id"
_BODY_LIMIT = 4_096


def text(value: object) -> str:
    """Give a header's or field's value as text; bytes that are not UTF-8 are escaped."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    return "" if value is None else str(value)


def body_text(body: bytes) -> str:
    """Give at most 4096 bytes of a payload as text."""
    return text(body[:_BODY_LIMIT])


def marker(body: bytes | str, pointer: str) -> str:
    """Give the value at a JSON pointer (``/id``, ``/data/orderId``) of a payload, or the empty string."""
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    for step in pointer.strip("/").split("/"):
        if isinstance(found, Mapping):
            found = found.get(step)
        elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            return ""
    return text(found) if isinstance(found, (str, int, float)) and not isinstance(found, bool) else ""


def lower(headers: Mapping[str, object]) -> dict[str, str]:
    """Give headers as text with lower-case names."""
    return {str(name).lower(): text(value) for name, value in headers.items()}


def correlation(headers: Mapping[str, str], fallback: object = "") -> str:
    """Give the ``x-correlation-id`` header, else the carrier's own field."""
    return headers.get("x-correlation-id", "") or text(fallback)
