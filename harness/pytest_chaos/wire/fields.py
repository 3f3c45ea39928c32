"""The fields of a control message, read and checked; each raises ChaosError naming field, value and range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_chaos.errors import ChaosError
from pytest_chaos.model.codec import from_json
from pytest_chaos.model.fault import WireRule
from pytest_chaos.model.plan import StubOperation
from pytest_chaos.wire import identify
from pytest_chaos.wire.links import parse_upstream

Fields = Mapping[str, Any]


def text(fields: Fields, name: str) -> str:
    """Give a field that must be a non-empty string."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        msg = f"{name}={value!r:.80}: must be a non-empty string"
        raise ChaosError(msg)
    return value


def port(fields: Fields) -> int:
    """Give the port that a link is to have; 0: any that is free."""
    value = fields.get("port", 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 65536:
        msg = f"port={value!r:.80}: must be a whole number from 0 (any) to 65535"
        raise ChaosError(msg)
    return value


def upstream(fields: Fields) -> tuple[str, int] | None:
    """Give where a link leads, or None where nobody is there yet."""
    return None if fields.get("upstream") is None else parse_upstream(text(fields, "upstream"))


def marks(fields: Fields) -> dict[str, str]:
    """Give how a link's operations tell their markers."""
    specs: object = fields.get("identify") or {}
    if not isinstance(specs, dict) or not all(isinstance(spec, str) for spec in specs.values()):
        msg = f"identify={specs!r:.80}: must be an object of operations to json:, header: or path: strings"
        raise ChaosError(msg)
    for operation, spec in specs.items():
        identify.check(spec, where=f"identify[{operation!r}]")
    return specs


def operation(name: str, plain: object) -> StubOperation:
    """Give a stub's operation."""
    built = from_json(StubOperation, plain)
    for field in ("dedupe", "key", "marker", "amount_minor"):
        if spec := getattr(built, field):
            identify.check(str(spec), where=f"operations[{name!r}].{field}")
    codes = (*range(17), 200) if name.startswith("/") else range(200, 600)
    if built.status not in codes:
        range_ = "a gRPC code from 0 to 16" if name.startswith("/") else "a whole number from 200 to 599"
        msg = f"operations[{name!r}].status={built.status!r:.80}: must be {range_}"
        raise ChaosError(msg)
    return built


def rule(plain: object) -> WireRule:
    """Give a rule, its shape checked; what it may say is checked by its kind."""
    try:
        return from_json(WireRule, plain)
    except (TypeError, AttributeError, ValueError) as wrong:
        msg = f"rule {plain!r:.120}: {wrong}"
        raise ChaosError(msg) from wrong
