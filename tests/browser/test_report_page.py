"""The report in a real browser: readable at a desk and on a telephone, and nothing leaves the file."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path

import pytest

from fixtures.histories import build
from fixtures.histories.failing import many_attempts
from pytest_chaos.reporting import write_reports

JOURNALS = [*sorted(build.journals()), "storm"]


def _chromium():
    spec = importlib.util.spec_from_file_location("chromium", Path(__file__).with_name("chromium.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


chromium = _chromium()
pytestmark = pytest.mark.skipif(not chromium.find(), reason="no Chromium on PATH: apt-get install chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = chromium.Chromium(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name in JOURNALS:
        records = many_attempts() if name == "storm" else build.journals()[name]
        # A part that listens nowhere, as wire does in a real run.
        silent = [dataclasses.replace(part, address="") for part in records[0].parts[:1]]
        records = [dataclasses.replace(records[0], parts=(*silent, *records[0].parts)), *records[1:]]
        journal = build.write(folder / f"{name}.jsonl", records)
        found[name] = write_reports(journal, folder / name)[0]
    return found


@pytest.mark.parametrize("width", [400, 800, 1280])
@pytest.mark.parametrize("name", JOURNALS)
def test_the_page_never_scrolls_sideways(browser, pages, name, width):
    browser.open(pages[name], width=width)
    browser.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    outside = (
        "[...document.querySelectorAll('body *')].filter(one => !one.closest('svg') && one.checkVisibility() "
        f"&& one.getBoundingClientRect().right > {width} + 0.5).map(one => one.outerHTML.slice(0, 200))"
    )
    assert browser.evaluate(outside) == []


@pytest.mark.parametrize("name", JOURNALS)
def test_no_label_stands_alone_on_a_telephone_where_it_would_cover_the_next_one(browser, pages, name):
    browser.open(pages[name], width=400)
    browser.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    alone = (
        "[...document.querySelectorAll('td[data-th]')].filter(one => one.checkVisibility() && !one.innerText.trim() "
        "&& !one.querySelector('*:not(code)')).map(one => one.outerHTML.slice(0, 200))"
    )
    assert browser.evaluate(alone) == []


@pytest.mark.parametrize(
    ("name", "rule"), [("retry", "R1"), ("saga", "G2"), ("mixed", "R1"), ("hostile", "H1"), ("storm", "R8")]
)
def test_the_rule_that_failed_is_seen_without_scrolling(browser, pages, name, rule):
    browser.open(pages[name], width=1280, height=800)
    tops = browser.evaluate(
        "[...document.querySelectorAll('.banner .rule')]"
        ".map(one => [one.textContent, one.getBoundingClientRect().bottom])"
    )
    assert tops[0][0] == rule
    assert tops[0][1] < 800


@pytest.mark.parametrize("name", JOURNALS)
def test_no_request_leaves_the_file(browser, pages, name):
    browser.open(pages[name], width=1280)
    browser.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert browser.requests == [pages[name].as_uri()]


@pytest.mark.parametrize(("width", "drawn"), [(1280, True), (400, False)])
def test_the_story_is_drawn_where_there_is_room_and_told_where_there_is_not(browser, pages, width, drawn):
    browser.open(pages["retry"], width=width)
    assert browser.evaluate("document.querySelector('.story svg').checkVisibility()") is drawn
    assert browser.evaluate("document.querySelector('.steps').checkVisibility()") is not drawn
    if not drawn:
        steps = browser.evaluate("document.querySelector('.steps').innerText")
        assert "fault f1 begins" in steps
        assert "wait of 205 ms on orders -> payments" in steps


def test_the_band_of_the_fault_lies_behind_the_attempts_that_it_hit(browser, pages):
    browser.open(pages["retry"], width=1280)
    box = "(one => { const b = one.getBoundingClientRect(); return [b.left, b.right, b.top, b.bottom]; })"
    left, right, top, bottom = browser.evaluate(f"{box}(document.querySelector('.story .shade'))")
    bars = browser.evaluate(f"[...document.querySelector('.story svg').querySelectorAll('.bar.b-info')].map({box})")
    assert len(bars) == 3
    for bar in bars:
        assert left <= bar[0]
        assert bar[1] <= right
        assert top <= bar[2]
        assert bar[3] <= bottom


def test_no_hostile_text_becomes_an_element(browser, pages):
    browser.open(pages["hostile"], width=1280)
    assert browser.evaluate("document.querySelectorAll('script, img, iframe').length") == 1
    assert "<script>fetch(" in browser.evaluate("document.body.innerText")


WEAK = """(() => {
  const part = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = text => {
    const p = text.match(/[0-9.]+/g).slice(0, 3).map(v => part(v / 255));
    return .2126 * p[0] + .7152 * p[1] + .0722 * p[2];
  };
  const ground = one => {
    for (; one; one = one.parentElement) {
      const c = getComputedStyle(one).backgroundColor;
      if (c !== 'transparent' && !(c.startsWith('rgba') && c.endsWith(', 0)'))) { return c; }
    }
    return 'rgb(255, 255, 255)';
  };
  const weak = [], texts = '.verdict, .banner, .banner .rule, .sentence, .dim, .why, .where, td, code, a, .note, .cut';
  for (const one of document.querySelectorAll(texts)) {
    if (!one.checkVisibility() || !one.textContent.trim()) { continue; }
    const a = light(getComputedStyle(one).color), b = light(ground(one));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) { weak.push([one.className, one.textContent.slice(0, 40), ratio.toFixed(2)]); }
  }
  return weak; })()"""


def test_text_can_be_read_on_its_ground_by_day_and_by_night(browser, pages):
    """The contrast that WCAG 2.1 asks of text (1.4.3, level AA): 4.5 to 1."""
    for dark in (False, True):
        for name in ("mixed", "hostile", "storm"):
            browser.open(pages[name], width=1280, dark=dark)
            assert browser.evaluate(WEAK) == []


def test_tests_can_be_filtered_and_folded_but_need_no_script_to_be_read(browser, pages):
    browser.open(pages["mixed"], width=1280)
    count = "[...document.querySelectorAll('article')].filter(one => one.checkVisibility()).length"
    assert browser.evaluate(count) == 7
    browser.evaluate("document.querySelector('input[value=passed]').click()")
    assert browser.evaluate(count) == 4
    browser.evaluate("document.querySelector('[data-fold=open]').click()")
    assert browser.evaluate("document.querySelectorAll('article > details:not([open])').length") == 0
    # A page without its script is what a reader has whose browser runs none.
    bare = pages["mixed"].with_name("bare.html")
    bare.write_text(re.sub(r"<script>.*?</script>", "", pages["mixed"].read_text(), flags=re.DOTALL))
    browser.open(bare, width=1280)
    assert browser.evaluate("document.querySelector('.filter').checkVisibility()") is False
    assert browser.evaluate("document.querySelector('.sentence').checkVisibility()") is True


def test_a_page_that_did_reach_out_would_be_seen(browser, tmp_path):
    leaky = tmp_path / "leaky.html"
    leaky.write_text("<!doctype html><img src='http://127.0.0.1:9/x.png'>")
    browser.open(leaky, width=400)
    assert len(browser.requests) == 2


def test_a_journal_of_many_passed_tests_stays_a_page_that_opens_fast(browser, tmp_path):
    passed = build.journals()["passed"]
    cases = [record for record in passed if record.type == "test"]
    many = [dataclasses.replace(cases[0], nodeid=f"chaos/test_many.py::test_{number}") for number in range(60)]
    page = write_reports(build.write(tmp_path / "journal.jsonl", [passed[0], *many, passed[-1]]), tmp_path)[0]
    assert page.stat().st_size < 1_000_000
    browser.open(page, width=1280)
    assert browser.evaluate("document.querySelectorAll('article').length") == 60
