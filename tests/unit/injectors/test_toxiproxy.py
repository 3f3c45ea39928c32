"""What the client refuses before the server sees it, and what counts as a hit of a byte fault."""

from __future__ import annotations

import pytest

from pytest_chaos.errors import FaultError
from pytest_chaos.injectors.toxiproxy.client import check
from pytest_chaos.injectors.toxiproxy.evidence import bytes_through, hits_in
from pytest_chaos.model.attempt import Attempt
from pytest_chaos.model.fault import ByteFault

LINK = "a -> b"


@pytest.mark.parametrize(
    ("toxic", "attributes", "named"),
    [
        ("latencyy", {}, "latencyy"),
        ("latency", {"latencyy": 5}, "latencyy"),
        ("latency", {"latency": -1}, "-1"),
        ("latency", {"latency": 1.5}, "1.5"),
        ("latency", {"latency": True}, "True"),
        ("bandwidth", {"rate": -1}, "rate"),
        ("slicer", {}, "average_size"),
        ("slicer", {"average_size": 4, "size_variation": 4}, "size_variation"),
        ("reset_peer", {"timeout": 4001}, "4001"),
    ],
)
def test_what_the_server_would_get_wrong_is_refused_by_name(toxic, attributes, named):
    with pytest.raises(FaultError, match=named):
        check(toxic, attributes)


def test_a_share_of_connections_lies_between_none_and_all():
    check("latency", {"latency": 1}, toxicity=0.5)
    with pytest.raises(FaultError, match="toxicity"):
        check("latency", {"latency": 1}, toxicity=7)


def attempt(**fields: object) -> Attempt:
    known = {
        "id": "a1", "link": LINK, "connection": "c1", "reused": False, "protocol": "http/1.1", "connected_ns": 100,
        "started_ns": 100, "sent_ns": 110, "forwarded_ns": 110, "answered_ns": 120, "ended_ns": 130, "request_bytes": 7,
        "response_bytes": 9,
    }  # fmt: skip
    return Attempt(**{**known, **fields})  # type: ignore[arg-type]


def hits(stream: str, attempts: list[Attempt], start: int, end: int) -> int:
    return hits_in(ByteFault(id="t", fault="f", link=LINK, toxic="latency", stream=stream), attempts, start, end).hits


def test_an_answer_that_came_while_the_toxic_was_there_is_a_hit_downstream():
    assert hits("downstream", [attempt()], 115, 125) == 1
    assert hits("downstream", [attempt()], 131, 140) == 0, "it had ended before"
    assert hits("downstream", [attempt()], 50, 105) == 0, "it had not been forwarded yet"
    assert hits("downstream", [attempt(link="a -> c")], 115, 125) == 0


def test_an_answer_that_was_awaited_and_cut_is_a_hit_downstream():
    cut = attempt(answered_ns=None, ended_ns=None)
    assert hits("downstream", [cut], 115, 125) == 1
    assert hits("downstream", [attempt(answered_ns=None, error="reset")], 115, 125) == 1


def test_only_requests_whose_bytes_were_forwarded_meanwhile_are_hits_upstream():
    assert hits("upstream", [attempt()], 105, 125) == 1
    assert hits("upstream", [attempt()], 115, 125) == 0, "its bytes had gone before"
    assert hits("upstream", [attempt(forwarded_ns=None)], 105, 125) == 0, "it never got that far"


def test_the_proof_names_how_many_and_how_much():
    seen = hits_in(ByteFault(id="t", fault="f", link=LINK, toxic="latency"), [attempt(), attempt(id="a2")], 105, 200)
    assert seen.proof == "2 requests on a -> b moved 18 bytes to the caller through latency"
    assert (seen.first_ns, seen.last_ns) == (120, 120)


def test_the_servers_counters_are_read_by_proxy_and_direction():
    text = (
        'toxiproxy_proxy_received_bytes_total{direction="upstream",listener="l",proxy="p-1",upstream="u"} 5\n'
        'toxiproxy_proxy_sent_bytes_total{direction="downstream",listener="l",proxy="p-1",upstream="u"} 1e+06\n'
        'toxiproxy_proxy_received_bytes_total{direction="upstream",listener="l",proxy="p-10",upstream="u"} 99\n'
    )
    assert bytes_through(text, "p-1", "upstream") == 5
    assert bytes_through(text, "p-1", "downstream") == 1_000_000
    assert bytes_through(text, "p-2", "upstream") == 0
