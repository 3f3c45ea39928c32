"""What each kind of rule may say: its parameters, their ranges, and where in a request's life it acts. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_chaos.errors import FaultError
from pytest_chaos.model.fault import EVERYBODY, When, WireRule
from pytest_chaos.model.orders import name_of
from pytest_chaos.wire.toxics import kinds as toxic_kinds

Phase = Literal["listener", "connection", "request", "response", "bytes", "standing"]

DAY_MS = 86_400_000
BODY_LIMIT = 16 * 2**20
"""Bytes of a held answer or a collected request that are kept; beyond it the sender is made to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One parameter: a whole number in a range, one of some words, or a shape."""

    low: int = 0
    high: int = 0
    words: tuple[str, ...] = ()
    shape: Literal["number", "word", "flag", "text", "line", "name", "headers", "any"] = "number"
    required: bool = False
    nullable: bool = False

    def wrong(self, value: object) -> str:  # noqa: PLR0911 - one for each shape
        """Say what the value must be, or nothing when it is well."""
        if value is None and self.nullable:
            return ""
        match self.shape:
            case "number":
                well = isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high
                return (
                    ""
                    if well
                    else f"must be a whole number from {self.low} to {self.high}{' or null' if self.nullable else ''}"
                )
            case "word":
                return "" if value in self.words else f"must be one of {', '.join(self.words)}"
            case "flag":
                return "" if isinstance(value, bool) else "must be true or false"
            case "text":
                return "" if isinstance(value, str) else "must be a string"
            case "line":
                well = isinstance(value, str) and value.isascii() and value.isprintable()
                return "" if well else "must be one line of printable ASCII"
            case "name":
                well = isinstance(value, str) and _TOKEN.fullmatch(value) is not None and value not in _FRAMING
                return "" if well else f"must be a header's name in lower case, not {', '.join(sorted(_FRAMING))}"
            case "headers":
                return "" if _headers_well(value) else "must be an object of header names to one-line strings"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of rule: where it acts unless its parameters say otherwise, and what they may be.

    ``alters``: the caller may be given another answer than the callee's, and that one may look well.
    """

    phase: Phase
    params: Mapping[str, Param] = field(default_factory=dict)
    alters: bool = False


_AT = Param(shape="word", words=("request", "response"))
_GRPC = {
    "code": Param(low=0, high=16, required=True),
    "message": Param(shape="text"),
    "pushback_ms": Param(low=-1, high=DAY_MS),
}
_FRAMING = frozenset({"connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer"})
_TOKEN = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")

KINDS: Mapping[str, Kind] = {
    "refuse": Kind(phase="listener"),
    "accept_close": Kind(phase="connection"),
    "slow_connect": Kind(phase="connection", params={"ms": Param(low=1, high=DAY_MS, required=True)}),
    "hold_connect": Kind(phase="standing", params={"ms": Param(low=1, high=DAY_MS, required=True)}),
    "reset_connections": Kind(phase="connection", params={"which": Param(shape="word", words=("open", "new", "both"))}),
    "close_after_requests": Kind(phase="standing", params={"requests": Param(low=1, high=1_000_000, required=True)}),
    "reset": Kind(phase="request", params={"at": _AT}),
    "status": Kind(
        phase="request",
        alters=True,
        params={
            "code": Param(low=200, high=599, required=True),
            "headers": Param(shape="headers"),
            "body": Param(shape="any"),
            "forward": Param(shape="flag"),
        },
    ),
    "grpc_status": Kind(phase="request", alters=True, params={**_GRPC, "forward": Param(shape="flag")}),
    "grpc_abort": Kind(
        phase="response", params={**_GRPC, "messages": Param(low=0, high=1_000_000, required=True), "at": _AT}
    ),
    "header": Kind(
        phase="request",
        alters=True,
        params={"name": Param(shape="name", required=True), "value": Param(shape="line", nullable=True), "at": _AT},
    ),
    "hold": Kind(phase="response", params={"ms": Param(low=0, high=DAY_MS, nullable=True), "at": _AT}),
    "latency": Kind(
        phase="request", params={"ms": Param(low=0, high=DAY_MS, required=True), "jitter_ms": Param(low=0, high=DAY_MS)}
    ),
    "drip": Kind(
        phase="response",
        params={
            "bytes": Param(low=1, high=BODY_LIMIT, required=True),
            "interval_ms": Param(low=1, high=DAY_MS, required=True),
            "at": Param(shape="word", words=("response",)),
        },
    ),
    "answer_lost": Kind(phase="response", params={"how": Param(shape="word", words=("reset", "close", "hang"))}),
    "truncate": Kind(
        phase="response",
        alters=True,
        params={
            "bytes": Param(low=0, high=BODY_LIMIT, required=True),
            "length": Param(shape="word", words=("kept", "adjusted")),
        },
    ),
    "wrong_length": Kind(
        phase="response", alters=True, params={"by": Param(low=-BODY_LIMIT, high=BODY_LIMIT, required=True)}
    ),
    "stall": Kind(
        phase="response",
        params={"bytes": Param(low=0, high=BODY_LIMIT), "ms": Param(low=1, high=DAY_MS, nullable=True)},
    ),
    "deliver_twice": Kind(phase="response", params={"ms": Param(low=0, high=DAY_MS)}),
    "deliver_late": Kind(
        phase="request",
        params={
            "ms": Param(low=0, high=DAY_MS),
            "how": Param(shape="word", words=("hang", "reset", "close")),
        },
    ),
    "point": Kind(
        phase="request",
        params={
            "phase": Param(shape="word", words=("before_send", "after_answer"), required=True),
            "node_action": Param(shape="text"),
        },
    ),
    **{f"bytes.{toxic}": Kind(phase="bytes", alters=toxic == "corrupt") for toxic in toxic_kinds.BOUNDS},
}


def phase_of(rule: WireRule) -> Phase:
    """Tell where in a request's life a (valid) rule acts."""
    params = rule.params
    if rule.kind in ("status", "grpc_status") and params.get("forward"):
        return "response"
    if rule.kind == "point":
        return "response" if params.get("phase") == "after_answer" else "request"
    if rule.kind in ("hold", "reset", "header", "grpc_abort") and "at" in params:
        at: Phase = params["at"]
        return at
    return KINDS[rule.kind].phase


def check(rule: WireRule, *, links: Collection[str]) -> None:
    """Refuse a rule that cannot be carried out; raise FaultError naming the field, its value and its range."""
    for name in ("id", "fault", "link", "kind", "operation"):
        value = getattr(rule, name)
        if not isinstance(value, str):
            _refuse(rule, name, value, "must be a string")
    for name in ("id", "fault"):
        name_of(getattr(rule, name), field=f"rule {rule.id!r:.80}: {name}")
    if rule.link not in links:
        _refuse(rule, "link", rule.link, f"must be an open link: {', '.join(sorted(links)) or 'there is none yet'}")
    kind = KINDS.get(rule.kind)
    if kind is None:
        _refuse(rule, "kind", rule.kind, f"must be one of {', '.join(KINDS)}")
        return
    if not _headers_well(rule.headers):
        _refuse(rule, "headers", rule.headers, "must be an object of header names to one-line strings")
    _check_params(rule, kind)
    if kind.phase not in ("request", "response") and (rule.operation or rule.headers):
        _refuse(
            rule,
            "operation",
            rule.operation or rule.headers,
            f"must be empty: {rule.kind} acts on connections, whatever is asked on them",
        )
    if kind.phase not in ("request", "response") and rule.whom != EVERYBODY:
        _refuse(rule, "whom", str(rule.whom), f"must be everybody: {rule.kind} acts before a request is seen")
    if kind.phase in ("listener", "bytes", "standing") and rule.when != When():
        _refuse(rule, "when", rule.when, f"must be unset: {rule.kind} acts on every connection")


def _check_params(rule: WireRule, kind: Kind) -> None:
    if kind.phase == "bytes":
        found = toxic_kinds.wrong(rule.kind.removeprefix("bytes."), rule.params)
        if found is not None:
            _refuse(rule, *found)
        return
    for name, value in rule.params.items():
        param = kind.params.get(name)
        if param is None:
            _refuse(rule, name, value, f"is no parameter of {rule.kind}; it has {', '.join(kind.params) or 'none'}")
        elif wrong := param.wrong(value):
            _refuse(rule, name, value, wrong)
    for name, param in kind.params.items():
        if param.required and name not in rule.params:
            _refuse(rule, name, None, f"is needed: {param.wrong(None)}")


def _refuse(rule: WireRule, name: str, value: Any, range_: str) -> None:
    msg = f"rule {rule.id!r}: {name}={value!r:.80}: {range_}"
    raise FaultError(msg)


def _headers_well(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(part, str) and not set(part) & {"\r", "\n", "\0"} for pair in value.items() for part in pair
    )
