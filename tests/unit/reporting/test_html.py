"""report.html: complete, in order, and closed against what a service says. Looks are for the browser tests."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from fixtures.histories import build
from fixtures.histories.failing import many_attempts
from pytest_chaos.reporting import html
from pytest_chaos.reporting.reading import read_run


def page(tmp_path, name, **known):
    records = many_attempts() if name == "storm" else build.journals()[name]
    return html.render(read_run(build.write(tmp_path / "j", records)), **known)


class Elements(HTMLParser):
    """Collects the tags of a page with their attributes."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def elements(text):
    parser = Elements()
    parser.feed(text)
    return parser.found


def in_order(text, *parts):
    """Whether the parts stand in the text, each after the one before."""
    position = 0
    for part in parts:
        position = text.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return True


def test_a_failing_test_shows_what_a_reviewer_needs_in_order(tmp_path):
    shown = page(tmp_path, "retry")
    article = shown[shown.index("<article") :]
    assert in_order(
        article,
        ">FAIL<",
        ">R1<",
        "4 attempts of POST /payments were made",
        "severity",
        "overload",
        "blame",
        "application",
        "<svg",
        "f1 Status(status=503",
        "wait 205 ms",
        "Witness",
        "Rules",
        "Faults",
        "wire acted on 3 requests",
        "proved",
        "last log lines of",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "pytest --chaos --chaos-seed=7",
    )


def test_the_overview_comes_first_and_names_every_part_with_its_version(tmp_path):
    shown = page(tmp_path, "mixed")
    header = shown[: shown.index("<main")]
    for part in (
        "FAIL",
        "seed",
        "93.4 s",
        "R1",
        "G2",
        "4.1.0",
        "3.10.8",
        "7.0.15",
        "2.12.0",
        "127.0.0.1:41205",
        "pid 21201",
    ):
        assert part in header


def test_tests_that_need_a_look_stand_before_those_that_passed(tmp_path):
    outcomes = [attrs["data-outcome"] for tag, attrs in elements(page(tmp_path, "mixed")) if tag == "article"]
    assert outcomes == ["failed", "failed", "error", "inconclusive", "passed", "passed", "passed"]


def test_a_passing_test_is_folded_but_says_what_it_proved(tmp_path):
    shown = page(tmp_path, "passed")
    article = shown[shown.index("<article") :]
    assert re.search(r"<article[^>]*>\s*<details>", article)
    assert in_order(
        article, "proved I1, I9, R5", "faults hit", "AnswerLost(operation=POST /payments, nth=1)", "1 effect for 1 key"
    )


def test_an_inconclusive_test_says_what_was_missing(tmp_path):
    assert in_order(page(tmp_path, "inconclusive"), "INCONCLUSIVE", "hit nothing", "nothing was retried")


def test_a_rule_that_was_not_exercised_is_no_pass(tmp_path):
    assert in_order(page(tmp_path, "retry"), "not exercised", "B1", "the breaker never saw 5 failures in a row")


def test_a_dirty_run_says_what_was_not_undone(tmp_path):
    assert in_order(page(tmp_path, "hostile"), "DIRTY", "not undone", "no answer within 5 s", "not proved")


def test_the_traces_are_links_when_the_address_of_a_jaeger_is_known(tmp_path):
    link = "http://127.0.0.1:16686/trace/4bf92f3577b34da6a3ce929d0e0e4736"
    assert link in [
        attrs.get("href") for _, attrs in elements(page(tmp_path, "retry", jaeger_url="http://127.0.0.1:16686"))
    ]
    assert "traces.jaeger.json" in page(tmp_path, "retry")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "file:///etc"])
def test_an_address_that_is_no_web_address_is_never_a_link(tmp_path, url):
    assert url.partition(":")[0] + ":" not in "".join(
        attrs.get("href") or "" for tag, attrs in elements(page(tmp_path, "retry", jaeger_url=url)) if tag == "a"
    )


@pytest.mark.parametrize("name", [*sorted(build.journals()), "storm"])
def test_nothing_in_the_page_asks_for_anything_outside_it(tmp_path, name):
    for tag, attrs in elements(page(tmp_path, name)):
        assert tag not in {"img", "iframe", "object", "embed", "audio", "video", "base", "form"}
        assert not any(attribute in attrs for attribute in ("src", "srcset", "action", "background", "style"))
        assert not any(attribute.startswith("on") for attribute in attrs)
        if "href" in attrs:
            assert attrs["href"].startswith(("#", "data:,"))


def test_the_only_script_is_ours_and_the_policy_names_it(tmp_path):
    shown = page(tmp_path, "hostile")
    (script,) = re.findall(r"<script>(.*?)</script>", shown, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(
        attrs["content"] for tag, attrs in elements(shown) if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_no_secret_and_no_terminal_escape_is_in_the_page(tmp_path):
    shown = page(tmp_path, "hostile")
    assert "s3cr3t" not in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_a_huge_history_is_cut_and_the_cut_is_said(tmp_path):
    shown = page(tmp_path, "storm")
    assert len(shown) < 400_000
    assert "attempts are not drawn" in shown
    assert "260 more witness events are in the journal" in shown
