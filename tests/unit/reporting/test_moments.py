"""Every event as one kind of value."""

from __future__ import annotations

import dataclasses

from fixtures.histories.failing import retry_case, saga_case
from fixtures.histories.others import passed_case
from fixtures.histories.values import attempt
from pytest_chaos.model.history import FaultRecord
from pytest_chaos.reporting.moments import fault_place, moments, of_attempt, relative_ms, witness


def test_every_event_of_a_history_can_be_a_witness():
    history = saga_case().history
    found = moments(history)
    for items in (
        history.attempts,
        history.ops,
        history.messages,
        history.effects,
        history.node_events,
        history.faults,
    ):
        assert {item.id for item in items} <= set(found)


def test_a_witness_is_in_time_order_and_keeps_what_the_history_lacks():
    history = retry_case().history
    assert [one.id for one in witness(history, ("a14", "ghost", "a11"))] == ["a11", "a14", "ghost"]
    assert witness(history, ("ghost",))[0].kind == "unknown"


def test_a_lost_answer_shows_both_what_was_given_and_what_was_answered():
    lost = next(one for one in passed_case().history.attempts if one.error)
    assert of_attempt(lost).status == "reset (callee: 201)"
    assert of_attempt(lost).outcome == "info"


def test_a_grpc_status_has_its_name():
    assert of_attempt(attempt(1, "a -> b", "/S/M", 1, 2, protocol="grpc", grpc_status=14)).status == "UNAVAILABLE"
    assert of_attempt(attempt(1, "a -> b", "/S/M", 1, 2, protocol="grpc", grpc_status=99)).status == "gRPC 99"


def test_an_attempt_that_never_ended_is_open():
    assert of_attempt(attempt(1, "a -> b", "GET /", 1, None)).status == "open"


def test_times_are_milliseconds_since_the_test_began():
    history = retry_case().history
    assert relative_ms(moments(history)["a12"].at_ns, history) == "232.5"
    assert relative_ms(None, history) == "-"


def test_of_two_events_with_one_id_the_first_is_kept():
    history = retry_case().history
    twice = dataclasses.replace(history, attempts=(*history.attempts, attempt(11, "x -> y", "GET /other", 1, 2)))
    assert moments(twice)["a11"].place == "orders -> payments"


def test_a_fault_over_several_links_shows_a_few_of_them():
    links = tuple(f"a -> {callee}" for callee in "bcdefg")
    parted = FaultRecord(id="f1", kind="Partition", target="a | rest", links=links, installed_ns=1)
    assert fault_place(parted) == "a | rest (links a -> b, a -> c, a -> d, a -> e and 2 more)"
    assert fault_place(dataclasses.replace(parted, links=links[:1])) == "a | rest (links a -> b)"
    assert fault_place(dataclasses.replace(parted, target="a -> b", links=())) == "a -> b"


def test_a_brokers_answer_has_its_own_word_and_a_bare_connection_an_end():
    def status(protocol, **known):
        return of_attempt(attempt(1, "a -> b", "x", 1, 2, protocol=protocol, **known)).status

    assert status("kafka") == "ok"
    assert status("amqp", response_headers={"error": "nack"}) == "nack"
    assert status("resp", error="reset") == "reset"
    assert status("tcp") == "closed"
