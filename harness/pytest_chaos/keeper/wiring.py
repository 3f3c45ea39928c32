"""What a node is told when it starts: its own ports, its callees' links, its data folder, its mark. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pytest_chaos.model.plan import LinkSpec, NodeSpec

_REFERENCE = re.compile(r"\{([a-z][a-z0-9-]*)(?:\.([a-z][a-z0-9_-]*))?\}")
# What a node inherits of the keeper's environment: enough to find programs and write files, nothing that configures a
# service by accident.
_INHERITED = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH",
    "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "JAVA_HOME", "GOPATH", "GOROOT", "GOCACHE",
    "NODE_PATH", "NVM_DIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR", "SYSTEMROOT", "PYTEST_CHAOS_CACHE",
})  # fmt: skip
_INHERITED_PREFIXES = ("LC_",)
AddressOf = Callable[[str, str], str]


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Choose what a node inherits of an environment."""
    return {
        name: value for name, value in environ.items() if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }


def telemetry(node: str, ports: Mapping[str, int], *, host: str = "127.0.0.1") -> dict[str, str]:
    """Give the OpenTelemetry settings that send a service's spans soon and drop none; by gRPC where there is one.

    ``host`` is where the receiver listens for this service.
    """
    protocol = "grpc" if "grpc" in ports else "http"
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{host}:{ports[protocol]}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc" if protocol == "grpc" else "http/protobuf",
        "OTEL_SERVICE_NAME": node,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BSP_MAX_QUEUE_SIZE": "65536",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }


def find_link(links: Iterable[LinkSpec], caller: str, callee: str, port: str) -> LinkSpec | None:
    """Find the link that a reference means: the callee's first port when none is named."""
    plain = f"{caller} -> {callee}"
    named = f"{plain}.{port}"
    for link in links:
        if link.name == named or (link.name == plain and port in ("", link.port)):
            return link
    return None


def resolve(
    spec: NodeSpec,
    links: Iterable[LinkSpec],
    *,
    reach: AddressOf,
    ports: Mapping[str, int],
    data: Path,
    override: Mapping[str, str],
    host: str = "127.0.0.1",
) -> dict[str, str]:
    """Fill a node's environment templates in.

    ``{callee}`` and ``{callee.port}`` become the link's address as ``reach(link name, callee)`` words it (``host:port``
    or a broker's URL); ``{self.port}`` is the node's own ``host:port``; ``{data}`` its folder; ``override`` wins over
    what the node declares and may use the same templates. Braces that name nothing stay (JSON in a variable).
    """
    known = tuple(links)

    def fill(match: re.Match[str]) -> str:
        name, port = match[1], match[2] or ""
        if name == "data" and not port:
            return str(data)
        if name == "self" and port in ports:
            return f"{host}:{ports[port]}"
        link = find_link(known, spec.name, name, port)
        return match[0] if link is None else reach(link.name, name)

    told = {variable: str(ports[name]) for name, variable in spec.ports.items() if variable and name in ports}
    return {
        **told,
        **{variable: _REFERENCE.sub(fill, template) for variable, template in {**spec.env, **override}.items()},
    }
