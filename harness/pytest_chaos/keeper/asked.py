"""What a client may ask of the keeper: the fields of each operation, checked before anything is done. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pytest_chaos.errors import ChaosError

_DAY_S = 86_400


class Field(NamedTuple):
    """A field: what it must be, in words and as a test, and whether it must be there."""

    must: str
    well: Callable[[Any], bool]
    needed: bool = True


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_env(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _DAY_S


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_TEXT = Field("must be a string", lambda value: isinstance(value, str))
_WHOLE = Field("must be a whole number of 0 or more", _is_whole)
_OBJECT = Field("must be an object", lambda value: isinstance(value, dict))
_ENV = Field("must be an object of strings, or null", lambda value: value is None or _is_env(value), needed=False)
_ENVS = Field(
    "must be an object of objects of strings, or null",
    lambda value: value is None or (isinstance(value, dict) and all(map(_is_env, value.values()))),
    needed=False,
)
FIELDS: Mapping[str, Mapping[str, Field]] = {
    "hello": {"run": _TEXT._replace(needed=False), "pid": _WHOLE._replace(needed=False)},
    "start": {"spec": _OBJECT, "environ": _ENV},
    "install": {"schedule": _OBJECT},
    "uninstall": {"schedule": _TEXT},
    "door": {"owner": _TEXT},
    "faults": {"owner": _TEXT},
    "undos": {},
    "mark": {},
    "node": {"node": _TEXT, "verb": _TEXT, "env": _ENV},
    "baseline": {
        "restart": Field("must be a list of strings", lambda value: value is None or _is_texts(value), needed=False),
        "env": _ENVS,
    },
    "running": {},
    "node_events": {},
    "state": {},
    "around": {"since_ns": _WHOLE},
    "lock": {
        "limit_s": Field(f"must be a number from 0 to {_DAY_S}", _is_seconds, needed=False),
        "owner": _TEXT._replace(needed=False),
        "mode": Field("must be exclusive or shared", lambda value: value in ("exclusive", "shared"), needed=False),
        "alone": Field("must be true or false", lambda value: isinstance(value, bool), needed=False),
    },
    "share": {},
    "unlock": {},
    "bye": {},
}


def check(op: str, message: Mapping[str, Any]) -> None:
    """Raise ChaosError that names op, field, value and what it must be, for the first field that is wrong."""
    known = FIELDS[op]
    for name, value in message.items():
        if name not in known:
            msg = f"{op}: {name}={value!r:.80}: is no field of {op}; it has {', '.join(known) or 'none'}"
            raise ChaosError(msg)
        if not known[name].well(value):
            msg = f"{op}: {name}={value!r:.80}: {known[name].must}"
            raise ChaosError(msg)
    for name, field in known.items():
        if field.needed and name not in message:
            msg = f"{op}: {name}: is needed: {field.must}"
            raise ChaosError(msg)
