"""What joins the events of one message, read from hostile payloads too."""

from __future__ import annotations

import pytest

from pytest_chaos.brokers._marks import correlation, lower, marker


@pytest.mark.parametrize(
    ("body", "pointer", "found"),
    [
        (b'{"id": "e1"}', "/id", "e1"),
        (b'{"id": 7}', "/id", "7"),
        (b'{"data": {"orderId": "o"}}', "/data/orderId", "o"),
        (b'[{"id": "x"}]', "/0/id", "x"),
        (b'{"id": null}', "/id", ""),
        (b'{"id": true}', "/id", ""),
        (b'{"id": {}}', "/id", ""),
        (b"[1]", "/5", ""),
        (b"plain", "/id", ""),
        (b"\xff\xfe", "/id", ""),
        (b"", "/id", ""),
    ],
)
def test_a_marker_is_a_scalar_at_a_json_pointer(body, pointer, found):
    assert marker(body, pointer) == found


def test_header_names_are_compared_in_lower_case_and_bytes_are_text():
    assert lower({"X-Correlation-Id": b"c", "n": 5, "none": None}) == {"x-correlation-id": "c", "n": "5", "none": ""}


def test_the_header_wins_over_the_carriers_own_field():
    assert correlation({"x-correlation-id": "h"}, b"p") == "h"
    assert correlation({}, b"p") == "p"
    assert correlation({}, None) == ""
