"""Where in a request its marker, key or amount stands: ``header:Name``, ``json:/a/b``, ``path:2``, ``pb:3/1``. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pytest_chaos.errors import ChaosError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_GRPC_PREFIX = 5


def check(spec: str, *, where: str) -> None:
    """Refuse a spec that can never be found; raise ChaosError saying which ones there are."""
    kind, _, rest = spec.partition(":")
    well = {
        "header": bool(rest),
        "json": rest.startswith("/"),
        "path": rest.isdigit() and int(rest) > 0,
        "pb": all(part.isdigit() and int(part) > 0 for part in rest.split("/")),
    }.get(kind, False)
    if not well:
        msg = f"{where}={spec!r}: must be header:NAME, json:/POINTER, path:SEGMENT (from 1) or pb:FIELD[/FIELD]"
        raise ChaosError(msg)


def needs_body(spec: str) -> bool:
    """Whether the body must be kept to find it."""
    return spec.startswith(("json:", "pb:"))


def find(spec: str, *, path: str, headers: Mapping[str, str], body: bytes) -> str:
    """Give the value as text, or the empty string where the request has none; ``headers`` have lower-case names."""
    kind, _, rest = spec.partition(":")
    match kind:
        case "header":
            return headers.get(rest.lower(), "")
        case "path":
            segments = path.partition("?")[0].strip("/").split("/")
            number = int(rest)
            return segments[number - 1] if number <= len(segments) else ""
        case "json":
            return _text(_pointed(body, rest))
        case "pb":
            return _protobuf(
                body,
                [int(part) for part in rest.split("/")],
                grpc=headers.get("content-type", "").startswith("application/grpc"),
            )
    return ""


def _text(value: object) -> str:
    if value is None or isinstance(value, (dict, list)):
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _pointed(body: bytes, pointer: str) -> object:
    """Follow a JSON pointer (RFC 6901)."""
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    for raw in pointer.split("/")[1:]:
        part = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _protobuf(body: bytes, path: list[int], *, grpc: bool) -> str:
    """Read one field of the first message, by field numbers (the protobuf wire format)."""
    message = body[_GRPC_PREFIX : _GRPC_PREFIX + int.from_bytes(body[1:_GRPC_PREFIX], "big")] if grpc else body
    for depth, number in enumerate(path):
        found = _field(message, number)
        if isinstance(found, int):
            return str(found) if depth == len(path) - 1 else ""
        if found is None:
            return ""
        message = found
    return message.decode("utf-8", "replace")


def _field(message: bytes, wanted: int) -> bytes | int | None:
    at, found = 0, None
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        value: bytes | int
        if wire == _VARINT:
            value, at = _varint(message, at)
        elif wire in (_BYTES, _FIXED64, _FIXED32):
            size, at = _varint(message, at) if wire == _BYTES else (8 if wire == _FIXED64 else 4, at)
            value, at = message[at : at + size], at + size
            if wire != _BYTES:
                value = int.from_bytes(value, "little")
        else:
            return None
        if number == wanted:
            found = value  # the last one counts, as protobuf has it
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 or shift > 63:
            break
    return value, at
