"""The fields of a control message, read and checked; each raises ChaosError naming field, value and range."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Mapping
from typing import Any

from pytest_chaos.errors import ChaosError
from pytest_chaos.model.codec import from_json
from pytest_chaos.model.fault import WireRule
from pytest_chaos.model.orders import NAME_LIMIT, name_of
from pytest_chaos.model.plan import StubOperation
from pytest_chaos.wire import identify
from pytest_chaos.wire.links import parse_upstream

Fields = Mapping[str, Any]
OWNER_LIMIT = 4096
"""Characters of a schedule's or an owner's name: tests' own names are long."""
KNOWN: Mapping[str, tuple[str, ...]] = {
    "open_link": (
        "name", "listen_host", "port", "upstream", "protocol", "advertise", "identify", "operations", "ledger",
    ),
    "close_link": ("name",),
    "set_upstream": ("name", "upstream", "advertise"),
    "install": ("schedule", "owner", "rules"),
    "uninstall": ("schedule", "owner"),
    "release": ("rule", "attempt"),
    "probe": ("name", "port"),
    "stub_reset": ("ledger",),
}  # fmt: skip
"""The fields of each operation; those that are not named have none."""


def only(op: str, fields: Fields) -> None:
    """Refuse a field that the operation does not have: what it was meant to say would go unheard."""
    known = KNOWN.get(op, ())
    for field, value in fields.items():
        if field not in known:
            msg = f"{field[:80]}={value!r:.80}: is no field of {op}; it has {', '.join(known) or 'none'}"
            raise ChaosError(msg)


def name(fields: Fields, field: str, *, most: int = NAME_LIMIT) -> str:
    """Give a field that must be a name."""
    return name_of(fields.get(field), field=field, most=most)


def link(fields: Fields) -> str:
    """Give a new link's name; other systems put it into paths, so no slash is in it."""
    return name_of(fields.get("name"), field="name", without="/\\")


def host(fields: Fields) -> str:
    """Give where a link listens: one address, never all of the machine's, and nothing that had to be looked up."""
    value = fields.get("listen_host")
    with contextlib.suppress(ValueError):
        if isinstance(value, str) and not ipaddress.ip_address(value).is_unspecified:
            return value
    msg = f"listen_host={value!r:.80}: must be one IP address of this machine"
    raise ChaosError(msg)


def ledger(fields: Fields) -> str:
    """Give the name of a stub's ledger; empty where none is given."""
    return "" if fields.get("ledger") in (None, "") else name(fields, "ledger")


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
    specs: object = fields.get("identify")
    specs = {} if specs is None else specs
    if not isinstance(specs, dict) or not all(isinstance(spec, str) for spec in specs.values()):
        msg = f"identify={specs!r:.80}: must be an object of operations to json:, header: or path: strings"
        raise ChaosError(msg)
    for operation, spec in specs.items():
        identify.check(spec, where=f"identify[{operation!r}]")
    return specs


def operation(name: str, plain: object) -> StubOperation:
    """Give a stub's operation."""
    built = from_json(StubOperation, plain, strict=True)
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
        return from_json(WireRule, plain, strict=True)
    except ChaosError as wrong:
        msg = f"rule {plain!r:.120}: {wrong}"
        raise type(wrong)(msg) from wrong
