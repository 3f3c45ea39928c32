"""What a node is told: its ports, its callees' links, nothing by accident."""

from __future__ import annotations

from pathlib import Path

from pytest_chaos.keeper import wiring
from pytest_chaos.model.plan import LinkSpec, NodeSpec

LINKS = (
    LinkSpec(name="a -> b", caller="a", callee="b", port="http"),
    LinkSpec(name="a -> b.grpc", caller="a", callee="b", port="grpc"),
    LinkSpec(name="test -> b", caller="test", callee="b", port="http"),
)


def told(env: dict[str, str], *, override: dict[str, str] | None = None) -> dict[str, str]:
    node = NodeSpec(name="a", kind="service", ports={"http": "PORT", "admin": ""}, env=env)
    return wiring.resolve(
        node,
        LINKS,
        reach=lambda link, callee: f"<{link}|{callee}>",
        ports={"http": 1234, "admin": 99},
        data=Path("/d/a"),
        override=override or {},
    )


def test_a_bare_name_and_the_first_port_mean_the_same_link() -> None:
    assert told({"X": "http://{b}/p", "Y": "{b.http}"}) == {
        "PORT": "1234",
        "X": "http://<a -> b|b>/p",
        "Y": "<a -> b|b>",
    }


def test_another_port_has_its_own_link() -> None:
    assert told({"X": "{b.grpc}"})["X"] == "<a -> b.grpc|b>"


def test_own_address_and_folder() -> None:
    assert told({"X": "{self.admin}", "Y": "{data}/x.db"}) == {"PORT": "1234", "X": "127.0.0.1:99", "Y": "/d/a/x.db"}


def test_braces_that_name_nothing_stay() -> None:
    assert told({"STOCK": '{"tea": 3}', "T": "{nobody} {self.nope}"})["STOCK"] == '{"tea": 3}'
    assert told({"T": "{nobody} {self.nope}"})["T"] == "{nobody} {self.nope}"


def test_an_override_wins_and_may_refer_too() -> None:
    assert told({"X": "old"}, override={"X": "{b}", "PORT": "1"}) == {"PORT": "1", "X": "<a -> b|b>"}


def test_a_node_inherits_no_settings() -> None:
    environ = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "AWS_SECRET": "x",
        "PORT": "80",
        "OTEL_SERVICE_NAME": "y",
        "PYTEST_CHAOS_RUN": "z",
    }
    assert wiring.inherited(environ) == {"PATH": "/bin", "LC_ALL": "C"}
