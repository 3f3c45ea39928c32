"""A marker is found where its spec says, and nothing in a request can break the search."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_chaos.errors import ChaosError
from pytest_chaos.wire.identify import check, find, needs_body

SPECS = ["header:X-Id", "json:/a/0/b", "path:2", "pb:1", "pb:1/2", "json:/a~1b"]


def look(spec, *, path="/", headers=None, body=b""):
    return find(spec, path=path, headers=headers or {}, body=body)


@pytest.mark.parametrize(
    ("spec", "request_", "found"),
    [
        ("header:X-Id", {"headers": {"x-id": "7"}}, "7"),
        ("path:2", {"path": "/orders/o-1/items?x=/9"}, "o-1"),
        ("path:5", {"path": "/orders"}, ""),
        ("json:/a/0/b", {"body": b'{"a":[{"b":"m"}]}'}, "m"),
        ("json:/n", {"body": b'{"n":12}'}, "12"),
        ("json:/a~1b", {"body": b'{"a/b":true}'}, "true"),
        ("json:/o", {"body": b'{"o":{}}'}, ""),
        ("json:/o", {"body": b"not json"}, ""),
        ("pb:1", {"body": b"\x0a\x03o-1\x10\x96\x01"}, "o-1"),
        ("pb:2", {"body": b"\x0a\x03o-1\x10\x96\x01"}, "150"),
        ("pb:3/1", {"body": b"\x1a\x04\x0a\x02hi"}, "hi"),
        (
            "pb:1",
            {"body": b"\0\0\0\0\x04\x0a\x02hi", "headers": {"content-type": "application/grpc+proto"}},
            "hi",
        ),
        ("pb:9", {"body": b"\x0a\x03o-1"}, ""),
    ],
)
def test_a_value_is_found_where_it_stands(spec, request_, found):
    check(spec, where="x")
    assert look(spec, **request_) == found


@given(st.sampled_from(SPECS), st.binary(max_size=200), st.text(max_size=20))
def test_no_request_breaks_the_search(spec, body, path):
    for kind in ("application/grpc", ""):
        assert isinstance(look(spec, path=path, headers={"content-type": kind, "x-id": "1"}, body=body), str)


@given(st.lists(st.text(max_size=4), min_size=1, max_size=4), st.text(max_size=5))
def test_a_json_pointer_finds_what_was_put_there(keys, value):
    plain = value
    for key in reversed(keys):
        plain = {key: plain}
    pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
    assert look(f"json:{pointer}", body=json.dumps(plain).encode()) == value


@pytest.mark.parametrize("spec", ["", "cookie:a", "json:a", "path:0", "path:x", "header:", "pb:", "pb:a", "pb:1/0"])
def test_a_spec_that_can_never_be_found_is_refused(spec):
    with pytest.raises(ChaosError, match="must be header"):
        check(spec, where="x")


def test_only_what_stands_in_the_body_needs_it():
    assert [needs_body(spec) for spec in ("json:/a", "pb:1", "path:1", "header:a", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]
