"""Secrets and invisible characters: none leaves the journal's reader."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.histories import build
from pytest_chaos.reporting.masking import MASK, mask, mask_text

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Proxy-Authorization",
        "cookie",
        "Set-Cookie",
        "password",
        "DB_PASSWORD",
        "dbPassword",
        "passwd",
        "client_secret",
        "x-api-key",
        "apiKey",
        "access_key",
        "AWS_SECRET_ACCESS_KEY",
        "token",
        "refresh-token",
        "credentials",
    ],
)
def test_the_value_under_a_secret_name_is_masked(name):
    assert mask({"headers": {name: SECRET}}) == {"headers": {name: MASK}}


@pytest.mark.parametrize(
    "name", ["idempotency-key", "key", "x-correlation-id", "traceparent", "marker", "keys", "tokens_used"]
)
def test_what_identifies_is_no_secret(name):
    assert mask({name: "abc-1"}) == {name: "abc-1"}


@pytest.mark.parametrize(
    "text",
    [
        f"password={SECRET}",
        f'{{"password": "{SECRET}"}}',
        f"Authorization: Bearer {SECRET}",
        f"authorization: Digest user=x, r={SECRET}",
        f"Cookie: a=b; sid={SECRET}",
        f"amqp://guest:{SECRET}@127.0.0.1:5672/",
        f"postgres://u:{SECRET}@db/x",
        f"curl -H 'X-Api-Key: {SECRET}'",
        f"using bearer {SECRET}",
        f"?access_token={SECRET}&x=1",
        f"API_TOKEN={SECRET} pytest --chaos",
    ],
)
def test_a_secret_within_a_text_is_masked(text):
    assert SECRET not in mask_text(text)
    assert MASK in mask_text(text)


def test_a_text_keeps_what_is_no_secret():
    line = "2026-11-24 INFO orders charged 1250 for ord-1 (key ord-1:charge) at http://127.0.0.1:80/x?a=1"
    assert mask_text(line) == line


def test_a_node_that_is_called_token_keeps_its_log():
    assert mask({"logs": {"token": "started", "a": f"password={SECRET}"}}) == {
        "logs": {"token": "started", "a": f"password={MASK}"}
    }


@given(st.text())
def test_no_control_character_and_no_surrogate_is_left(text):
    shown = mask_text(text)
    shown.encode()
    assert not any(ord(char) < 32 and char not in "\t\n\r" for char in shown)
    assert not any(char in "\x1b\x7f\u202e\u2066" for char in shown)


def test_terminal_escapes_are_made_visible():
    assert mask_text("\x1b[2J\u202eevil") == "<U+001B>[2J<U+202E>evil"


def test_masking_twice_changes_nothing_more():
    plain = [json.loads(line) for line in build.lines(build.journals()["hostile"])]
    assert mask(mask(plain)) == mask(plain)


def test_a_long_hostile_line_is_masked_in_linear_time():
    for unit in ("a-", "a", "token", "x=", "Bearer ", "a:b@", "://"):
        mask_text(unit * 40_000)
