"""Model values to plain JSON and back, driven by the dataclasses' own type hints.

What is not a model value (a dict, a list, a number, a string) passes as it is. Unknown fields are ignored when
reading, so that an old journal can be read by a newer program; a missing required field is an error that names it.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

from pytest_chaos.errors import ChaosError

T = TypeVar("T")


def to_json(value: object) -> Any:
    """Turn a model value into dicts, lists, strings and numbers; fields that hold their default are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if field.metadata.get("local") or _is_default(field, item):
                continue
            plain[field.name] = to_json(item)
        return plain
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, frozenset, set)):
        return [to_json(item) for item in value]
    return value


def from_json(cls: type[T], data: object, *, strict: bool = False) -> T:
    """Build a ``cls`` from what :func:`to_json` gave; raise ChaosError naming class and field when it cannot be.

    ``strict``: a field that is not known is refused. That is for orders, where it would go unheard.
    """
    if not isinstance(data, Mapping):
        msg = f"{cls.__name__}: expected an object, got {data!r:.80}"
        raise ChaosError(msg)
    hints = _hints(cls)  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for name, item in data.items():
        if name in hints:
            try:
                given[name] = _build(hints[name], item, strict=strict)
            except TypeError as wrong:
                msg = f"{cls.__name__}.{name}: {wrong}"
                raise ChaosError(msg) from wrong
        elif strict:
            msg = f"{cls.__name__}: {str(name)[:80]}={item!r:.80}: is no field of it; it has {', '.join(sorted(hints))}"
            raise ChaosError(msg)
    try:
        return cls(**given)
    except TypeError as wrong:
        msg = f"{cls.__name__}: {wrong}"
        raise ChaosError(msg) from wrong


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Give the hint of each field of a model class, by name."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _is_default(field: dataclasses.Field[Any], item: object) -> bool:
    if field.default is not dataclasses.MISSING:
        return bool(item == field.default) and type(item) is type(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return bool(item == field.default_factory())
    return False


@functools.cache
def _shape(hint: Any) -> tuple[str, Any]:
    """Say what a hint asks for, and of what: worked out once a hint, since a journal has millions of values."""
    origin = get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        choices = [choice for choice in get_args(hint) if choice is not type(None)]
        shaped = [choice for choice in choices if _shape(choice)[0] != "plain"]
        return "union", shaped[0] if len(shaped) == 1 else None
    if origin is tuple:
        return "tuple", get_args(hint)[0]
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return "object", get_args(hint)[1]
    if origin in (list, Sequence):
        return "list", get_args(hint)[0]
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return "record", hint
    return "plain", None


def _build(hint: Any, item: Any, *, strict: bool) -> Any:
    shape, inner = _shape(hint)
    if shape == "plain":
        return item
    if shape == "union":
        if inner is None or not isinstance(item, (dict, list, tuple)):
            return item
        return _build(inner, item, strict=strict)
    if shape == "record":
        return from_json(inner, item, strict=strict)
    if shape == "object":
        if not isinstance(item, Mapping):
            msg = f"expected an object, got {item!r:.80}"
            raise TypeError(msg)
        return {key: _build(inner, one, strict=strict) for key, one in item.items()}
    if not isinstance(item, (list, tuple)):
        msg = f"expected a list, got {item!r:.80}"
        raise TypeError(msg)
    built = [_build(inner, one, strict=strict) for one in item]
    return tuple(built) if shape == "tuple" else built
