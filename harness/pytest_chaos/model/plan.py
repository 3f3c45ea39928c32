"""A topology as plain values: what the keeper is sent, with no callables and no policies in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadySpec:
    """How readiness is seen, within ``timeout_s`` seconds of the start."""

    kind: Literal["http", "tcp", "log"] = "tcp"
    path: str = ""
    port: str = ""
    pattern: str = ""
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StubOperation:
    """What a stub answers to one operation, and what counts as its effect.

    ``key``, ``marker``, ``amount_minor`` say where in the request those are: ``header:Idempotency-Key``,
    ``json:/orderId`` or ``path:2`` (a segment, from 1). ``dedupe`` names what makes a repeat: the stored answer is
    given again and no effect is recorded. ``effect`` False: a read, never in the ledger. ``body`` may hold ``{seq}``,
    the effect's number, in string values.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    dedupe: str = ""
    key: str = ""
    marker: str = ""
    amount_minor: str = ""
    effect: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """One node. ``env`` values are templates: ``{callee.port}``, ``{broker}``, ``{data}``, ``{self.port}``.

    ``ports`` maps a port's name to the environment variable that tells its number. ``watch`` lists files and folders
    whose change means that a kept node is stale. ``clock``: its wall clock can be stepped. ``protocol``: what wire
    reads on the links to a backing; ``advertise`` maps what a Kafka calls its brokers to the nodes that they are.
    """

    name: str
    kind: Literal["service", "broker", "backing", "stub"]
    broker: str = ""
    command: tuple[str, ...] = ()
    image: str = ""
    ports: dict[str, str] = field(default_factory=dict)
    container_port: int | None = None
    ready: ReadySpec = field(default_factory=ReadySpec)
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = ""
    watch: tuple[str, ...] = ()
    instrumented: bool | None = None
    clock: bool = False
    protocol: str = ""
    advertise: dict[str, str] = field(default_factory=dict)
    operations: dict[str, StubOperation] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSpec:
    """A directed edge. ``identify`` maps an operation to the payload field that marks the logical operation."""

    name: str
    caller: str
    callee: str
    port: str = ""
    toxiproxy: bool = False
    identify: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSpec:
    """Everything that should run; ``project`` is the folder that commands run in."""

    nodes: tuple[NodeSpec, ...]
    links: tuple[LinkSpec, ...]
    project: str = ""
    runtime: Literal["processes", "containers"] = "processes"
    injector: Literal["auto", "toxiproxy", "wire"] = "auto"
    seed: int = 0
    otlp: bool = True
    images: dict[str, str] = field(default_factory=dict)

    def node(self, name: str) -> NodeSpec:
        """Give a node by name; the topology has checked that it is there."""
        return next(node for node in self.nodes if node.name == name)
