"""A scripted dependency: operations in, answers and effects out. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_chaos.model.operations import pattern
from pytest_chaos.model.plan import StubOperation
from pytest_chaos.wire.identify import find

_NOT_FOUND = 404
_WELL = (0, *range(200, 400))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer that wire makes itself; ``headers`` have their names as they go out."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a stub is asked: the attempt's operation, the target with its query, lower-case headers, the whole body."""

    operation: str
    target: str
    headers: Mapping[str, str]
    body: bytes


def make_answer(status: int, body: object, headers: Mapping[str, str]) -> Answer:
    """Build an answer; text goes out as text, anything but None as JSON, unless ``headers`` name a content type."""
    given = dict(headers)
    named = any(name.lower() == "content-type" for name in given)
    if body is None:
        return Answer(status=status, headers=given)
    if isinstance(body, str):
        kind, data = "text/plain; charset=utf-8", body.encode()
    else:
        kind, data = "application/json", json.dumps(body).encode()
    return Answer(status=status, headers=given if named else {"content-type": kind, **given}, body=data)


class Stub:
    """One ledger: its operations, and the answers stored for the keys that it has seen."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.operations: dict[str, StubOperation] = {}
        self._stored: dict[tuple[str, str], Answer] = {}
        self._effects = 0

    def reset(self) -> None:
        """Forget every stored answer and count effects from 1 again."""
        self._stored.clear()
        self._effects = 0

    def serve(self, request: Request) -> tuple[Answer, dict[str, Any] | None]:
        """Do the work: give the answer, and the effect's fields when there was one."""
        name = self._named(request.operation)
        if name is None:
            known = sorted(self.operations)
            return make_answer(
                _NOT_FOUND, {"error": f"stub {self.name}: no operation {request.operation}", "known": known}, {}
            ), None
        asked = self.operations[name]
        repeat = self._find(asked.dedupe, request)
        if repeat and (name, repeat) in self._stored:
            return self._stored[name, repeat], None
        works = asked.effect and asked.status in _WELL
        self._effects += works
        answer = make_answer(asked.status, _filled(asked.body, self._effects), asked.headers)
        if repeat:
            self._stored[name, repeat] = answer
        return answer, self._effect(asked, request, repeat) if works else None

    def _named(self, operation: str) -> str | None:
        if operation in self.operations:
            return operation
        return next((name for name in self.operations if pattern(name).fullmatch(operation)), None)

    def _effect(self, asked: StubOperation, request: Request, repeat: str) -> dict[str, Any]:
        row: dict[str, Any] = {
            "node": self.name,
            "ledger": self.name,
            "key": self._find(asked.key, request) or repeat,
            "marker": self._find(asked.marker, request),
            "operation": request.operation,
        }
        amount = self._find(asked.amount_minor, request)
        if amount.lstrip("-").isdecimal():
            row["amount_minor"] = int(amount)
        return row

    @staticmethod
    def _find(spec: str, request: Request) -> str:
        return find(spec, path=request.target, headers=request.headers, body=request.body) if spec else ""


def _filled(body: Any, seq: int) -> Any:
    if isinstance(body, str):
        return body.replace("{seq}", str(seq))
    if isinstance(body, dict):
        return {key: _filled(value, seq) for key, value in body.items()}
    return [_filled(value, seq) for value in body] if isinstance(body, (list, tuple)) else body
