"""The graph of what should run: nodes, and the links between them that follow from who calls whom."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_chaos.errors import TopologyError
from pytest_chaos.model.plan import LinkSpec, NodeSpec, ReadySpec, StackSpec, StubOperation
from pytest_chaos.model.verdict import Checker

DRIVER = "test"
PROTOCOLS = ("", "amqp", "kafka", "resp")
_BROKER = re.compile(r"\*|[0-9]+|\S+:[0-9]{1,5}")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}\Z")
_REFERENCE = re.compile(r"\{([a-z][a-z0-9-]*)(?:\.([a-z][a-z0-9_-]*))?\}")
_OWN = frozenset({"data", "self"})


@dataclass(frozen=True, slots=True)
class Http:
    """An HTTP path on one of the node's ports.

    Readiness (any status below 500), or a state query that returns ledger rows.
    """

    path: str
    port: str = ""


@dataclass(frozen=True, slots=True)
class Tcp:
    """Ready when a port accepts connections."""

    port: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """Ready when a line of the node's output matches a regular expression."""

    pattern: str


Ready = Http | Tcp | LogLine
StateQuery = Http | Callable[[], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Service:
    """One of the user's own programs, in any language.

    ``ports`` maps a port's name to the environment variable that tells the service its number; ``calls`` maps an
    environment variable to a template with ``{callee.port}`` in it; ``uses`` maps one to a broker's or backing's
    name; ``env`` may use ``{data}``, a folder that outlives restarts. ``policies`` declares, per callee, what the
    service promises on that link. ``clock``: it is started with libfaketime, so that ``ClockStep`` can step its wall
    clock (a look at the clock then takes some microseconds).
    """

    name: str
    command: Sequence[str] = field(default=(), kw_only=True)
    image: str = field(default="", kw_only=True)
    ports: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    ready: Ready | None = field(default=None, kw_only=True)
    ready_timeout_s: float = field(default=30.0, kw_only=True)
    calls: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    uses: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    env: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    cwd: str = field(default="", kw_only=True)
    policies: Mapping[str, Sequence[Checker]] = field(default_factory=dict, kw_only=True)
    state: StateQuery | None = field(default=None, kw_only=True)
    instrumented: bool | None = field(default=None, kw_only=True)
    watch: Sequence[str] = field(default=(), kw_only=True)
    clock: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Broker:
    """A message broker; made by ``Kafka(name)``, ``RabbitMQ(name)``, ``Redis(name)``."""

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Backing:
    """Any other TCP dependency, by command or image.

    ``port_env`` tells a command its port; an image listens on ``port``. ``protocol`` (``kafka``, ``amqp``, ``resp``):
    what its links carry, so that faults act on single calls. ``advertise``, of a Kafka, maps each broker as it calls
    itself (its node id, the ``host:port`` that it advertises, or ``"*"`` for all others) to the node that it is here:
    callers are told their own links to that node.
    """

    name: str
    command: Sequence[str] = field(default=(), kw_only=True)
    image: str = field(default="", kw_only=True)
    port: int | None = field(default=None, kw_only=True)
    port_env: str = field(default="PORT", kw_only=True)
    protocol: Literal["", "amqp", "kafka", "resp"] = field(default="", kw_only=True)
    advertise: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    ready: Ready | None = field(default=None, kw_only=True)
    ready_timeout_s: float = field(default=30.0, kw_only=True)
    env: Mapping[str, str] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True, slots=True)
class Stub:
    """A scripted dependency that the harness plays itself; its ledger is the effects.

    ``operations`` maps ``METHOD /path`` to what is answered: see :class:`StubOperation`.
    """

    name: str
    operations: Mapping[str, StubOperation]


Node = Service | Broker | Backing | Stub


class Topology:
    """What should run, checked: every name known, used once, every link to somewhere.

    Raises TopologyError naming the node and the field. ``toxiproxy`` lists the links that get a real Toxiproxy behind
    wire; ``identify`` tells, per operation, which payload field marks the logical operation (``json:/orderId``).
    """

    def __init__(self, *nodes: Node, toxiproxy: Sequence[str] = (), identify: Mapping[str, str] | None = None) -> None:
        self.nodes = nodes
        self.toxiproxy = tuple(toxiproxy)
        self.identify = dict(identify or {})
        self._by_name = _by_name(nodes)
        self.links = self._find_links()
        self._check()

    def node(self, name: str) -> Node:
        """Give a node by name; raise TopologyError listing the names that exist."""
        try:
            return self._by_name[name]
        except KeyError:
            msg = f"no node is called {name!r}; the topology has: {', '.join(sorted(self._by_name))}"
            raise TopologyError(msg) from None

    def link(self, name: str) -> LinkSpec:
        """Give a link by its name (``orders -> payments``); raise TopologyError listing the links that exist."""
        for link in self.links:
            if link.name == name:
                return link
        msg = f"no link is called {name!r}; the topology has: {', '.join(link.name for link in self.links)}"
        raise TopologyError(msg)

    def policies(self) -> list[tuple[str, Checker]]:
        """List (link name, declared policy) pairs."""
        return [
            (f"{node.name} -> {callee}", policy)
            for node in self.nodes
            if isinstance(node, Service)
            for callee, declared in node.policies.items()
            for policy in declared
        ]

    def spec(self) -> StackSpec:
        """Compile to what the keeper needs: plain values, no callables, no policies."""
        return StackSpec(nodes=tuple(_node_spec(node) for node in self.nodes), links=self.links)

    def _find_links(self) -> tuple[LinkSpec, ...]:
        links: dict[str, LinkSpec] = {}

        def add(caller: str, callee: str, port: str) -> None:
            main = next(iter(port_names(self._by_name[callee])), "")
            name = f"{caller} -> {callee}" if port in ("", main) else f"{caller} -> {callee}.{port}"
            links[name] = LinkSpec(
                name=name,
                caller=caller,
                callee=callee,
                port=port or main,
                toxiproxy=name in self.toxiproxy,
                identify=self.identify,
            )

        for node in self.nodes:
            for variable, callee, port in references(node):
                self._check_reference(node.name, variable, callee, port)
                add(node.name, callee, port)
        for node in self.nodes:
            for port in port_names(node):
                add(DRIVER, node.name, port)
        return tuple(links.values())

    def _check_reference(self, owner: str, variable: str, callee: str, port: str) -> None:
        if callee not in self._by_name:
            known = ", ".join(self._by_name)
            msg = (
                f"{owner}: {variable} refers to {callee!r}, which no node of the topology is called; there are: {known}"
            )
            raise TopologyError(msg)
        ports = port_names(self._by_name[callee])
        if port and port not in ports:
            msg = f"{owner}: {variable} refers to port {port!r} of {callee!r}, which has: {', '.join(ports) or 'none'}"
            raise TopologyError(msg)

    def _check(self) -> None:
        names = {link.name for link in self.links}
        for wanted in self.toxiproxy:
            if wanted not in names:
                msg = f"toxiproxy={wanted!r}: no such link; the topology has: {', '.join(sorted(names))}"
                raise TopologyError(msg)
        for link, policy in self.policies():
            if link not in names:
                msg = (
                    f"policies: {type(policy).__name__} is declared on {link!r}, but nothing in `calls` makes that link"
                )
                raise TopologyError(msg)
        for node in self.nodes:
            if isinstance(node, Backing):
                self._check_protocol(node)

    def _check_protocol(self, node: Backing) -> None:
        if node.protocol not in PROTOCOLS:
            msg = f"{node.name}: protocol={node.protocol!r}: must be one of {', '.join(PROTOCOLS[1:])}, or left out"
            raise TopologyError(msg)
        for broker, named in node.advertise.items():
            if node.protocol != "kafka":
                said = dict(node.advertise)
                msg = f"{node.name}: advertise={said!r}: is for protocol='kafka': no other tells addresses"
                raise TopologyError(msg)
            if not _BROKER.fullmatch(broker):
                msg = f"{node.name}: advertise: {broker!r}: must be a node id, a host:port that it advertises, or '*'"
                raise TopologyError(msg)
            if named not in self._by_name:
                known = ", ".join(self._by_name)
                msg = f"{node.name}: advertise[{broker!r}]={named!r}: no node is called so; there are: {known}"
                raise TopologyError(msg)


def port_names(node: Node) -> tuple[str, ...]:
    """List the names of a node's ports; the first is the one that a bare link means."""
    if isinstance(node, Service):
        return tuple(node.ports)
    return ("http",) if isinstance(node, Stub) else ("tcp",)


def references(node: Node) -> list[tuple[str, str, str]]:
    """List (environment variable, callee, port name or empty) of everything that a service is told about."""
    if not isinstance(node, Service):
        return []
    found = [(variable, used, "") for variable, used in node.uses.items()]
    for variable, template in {**node.env, **node.calls}.items():
        named = [match for match in _REFERENCE.finditer(template) if match[1] not in _OWN]
        found += [(variable, match[1], match[2] or "") for match in named]
    return found


def _by_name(nodes: Sequence[Node]) -> dict[str, Node]:
    known: dict[str, Node] = {}
    for node in nodes:
        if not _NAME.match(node.name) or node.name == DRIVER:
            rule = f"must be lower-case letters, digits and dashes, 1 to 31 of them, and not {DRIVER!r}"
            msg = f"node name {node.name!r}: {rule}"
            raise TopologyError(msg)
        if node.name in known:
            msg = f"two nodes are called {node.name!r}; every node of a topology has its own name"
            raise TopologyError(msg)
        if isinstance(node, (Service, Backing)) and not node.command and not node.image:
            msg = f"{node.name}: give it a command (to run as a process) or an image (to run as a container)"
            raise TopologyError(msg)
        known[node.name] = node
    return known


def _ready_spec(ready: Ready | None, timeout_s: float) -> ReadySpec:
    kind: Literal["http", "tcp", "log"] = "tcp"
    if isinstance(ready, Http):
        return ReadySpec(kind="http", path=ready.path, port=ready.port, timeout_s=timeout_s)
    if isinstance(ready, LogLine):
        return ReadySpec(kind="log", pattern=ready.pattern, timeout_s=timeout_s)
    return ReadySpec(kind=kind, port=ready.port if ready else "", timeout_s=timeout_s)


def _node_spec(node: Node) -> NodeSpec:
    if isinstance(node, Service):
        used = {variable: "{" + name + "}" for variable, name in node.uses.items()}
        return NodeSpec(
            name=node.name, kind="service", command=tuple(node.command), image=node.image, ports=dict(node.ports),
            ready=_ready_spec(node.ready, node.ready_timeout_s), env={**node.env, **node.calls, **used}, cwd=node.cwd,
            watch=tuple(node.watch), instrumented=node.instrumented, clock=node.clock,
        )  # fmt: skip
    if isinstance(node, Backing):
        return NodeSpec(
            name=node.name, kind="backing", command=tuple(node.command), image=node.image, ports={"tcp": node.port_env},
            container_port=node.port, ready=_ready_spec(node.ready, node.ready_timeout_s), env=dict(node.env),
            protocol=node.protocol, advertise=dict(node.advertise),
        )  # fmt: skip
    if isinstance(node, Stub):
        return NodeSpec(name=node.name, kind="stub", ports={"http": ""}, operations=dict(node.operations))
    return NodeSpec(name=node.name, kind="broker", broker=node.kind, ports={"tcp": ""}, options=dict(node.options))
