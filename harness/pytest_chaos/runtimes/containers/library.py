"""The one place that knows testcontainers and the client library under it; loading it takes half a second."""

from __future__ import annotations

import io
import os
import tarfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytest_chaos.errors import PartMissing, StackError
from pytest_chaos.parts import docker as part

DATA = "/pytest-chaos"
"""A node's own folder in its container; writable by whichever user its image runs as."""

_SETTINGS = {
    # Its reaper would need an image of its own; what is left behind is found by our labels, and the keeper removes it.
    "TESTCONTAINERS_RYUK_DISABLED": "true",
    "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
    "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
}
_TIMEOUT_S = 60


class Library:
    """Makes networks and containers through testcontainers. Everything here blocks: call it in threads."""

    def __init__(self) -> None:
        part.find(os.environ).require()
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import docker.errors  # noqa: PLC0415 - an extra, and slow
                import docker.types  # noqa: PLC0415
                from testcontainers.core.container import DockerContainer  # noqa: PLC0415
                from testcontainers.core.docker_client import DockerClient  # noqa: PLC0415
                from testcontainers.core.network import Network  # noqa: PLC0415
        except ImportError as missing:
            msg = f"containers need the extra: pip install 'pytest-chaos[containers]' ({missing})"
            raise PartMissing(msg) from missing
        self.errors: Any = docker.errors
        self._types: Any = docker.types
        self._network_type: Any = Network
        self._client = DockerClient(timeout=_TIMEOUT_S)
        self._container_type = _hooked(DockerContainer)

    @property
    def client(self) -> Any:
        """The engine, thing by thing."""
        return self._client.client

    @property
    def api(self) -> Any:
        """The engine, call by call."""
        return self._client.client.api

    def network(self, name: str, labels: Mapping[str, str], *, subnet: str = "", gateway: str = "") -> tuple[str, str]:
        """Make a bridge network; give its subnet and its gateway. Raises StackError when the engine refuses."""
        wanted: dict[str, Any] = {
            "driver": "bridge",
            "labels": dict(labels),
            # Should anything ever be published on it: on loopback only.
            "options": {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"},
        }
        if subnet:
            pool = self._types.IPAMPool(subnet=subnet, gateway=gateway)
            wanted["ipam"] = self._types.IPAMConfig(pool_configs=[pool])
        network = self._network_type(docker_network_kw=wanted)
        network.name = name
        try:
            network.create()
        except self.errors.APIError as refused:
            msg = f"the Docker engine made no network for this run: {refused.explanation}"
            raise StackError(msg) from refused
        told = self.api.inspect_network(name)["IPAM"]["Config"][0]
        return str(told["Subnet"]), str(told.get("Gateway", ""))

    def remove_network(self, name: str) -> None:
        """Remove a network again."""
        self.api.remove_network(name)

    def image_id(self, image: str) -> str:
        """Give the content that an image's name stands for now; empty when it is not here."""
        try:
            return str(self.client.images.get(image).id)
        except self.errors.ImageNotFound:
            return ""

    def has(self, image: str, *, pull: bool) -> str:
        """Give the empty string when an image is here, pulled if need be and allowed; else why not."""
        if self.image_id(image):
            return ""
        if not pull:
            return "it is not here"
        try:
            self.client.images.pull(image)
        except self.errors.APIError as refused:
            return str(refused.explanation or refused)
        return ""

    def start(
        self,
        name: str,
        image: str,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        before: Callable[[Any], None],
        mounts: Mapping[str, str],
        **more: Any,
    ) -> Any:
        """Make a container and start it; ``before`` is given the made one, ``more`` are the engine's own settings.

        ``mounts`` maps folders of this host to where the container sees them, read-only.

        Raises the client library's APIError when the engine refuses.
        """
        made = self._container_type(image)
        made.before = before
        made.with_name(name)
        made.with_envs(**env)
        for folder, inside in mounts.items():
            made.with_volume_mapping(folder, inside, "ro")
        if command:
            made.with_command(list(command))
        made.with_kwargs(**more)
        return made.start().get_wrapped_container()

    def endpoint(self, network: str, address: str, alias: str) -> dict[str, Any]:
        """Give the settings that put a container at an address of a network."""
        config = self._types.EndpointConfig(self.api.api_version, aliases=[alias], ipv4_address=address)
        return {"network": network, "networking_config": {network: config}}


def _hooked(base: Any) -> Any:
    """Make the library's container call ``before`` between its making and its start."""

    class Hooked(base):  # type: ignore[misc]
        before: Callable[[Any], None]

        def get_docker_client(self) -> Any:
            """Give the client, with the hook in its ``start``."""
            return _Client(super().get_docker_client(), self.before)

    return Hooked


class _Client:
    """A testcontainers client whose ``start`` prepares the container first."""

    def __init__(self, client: Any, before: Callable[[Any], None]) -> None:
        self._client = client
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def start(self, container: Any) -> None:
        self._before(container)
        self._client.start(container)


def empty_data() -> bytes:
    """Give a tar with an empty DATA folder that every user may write to."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        folder = tarfile.TarInfo(DATA.strip("/"))
        folder.type, folder.mode = tarfile.DIRTYPE, 0o777
        tar.addfile(folder)
    return packed.getvalue()
