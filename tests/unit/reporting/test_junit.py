"""junit.xml: well-formed whatever a service says, with the verdict in properties."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from fixtures.histories import build
from pytest_chaos.reporting import junit
from pytest_chaos.reporting.reading import read_run


def rendered(tmp_path, name):
    return ET.fromstring(junit.render(read_run(build.write(tmp_path / "j", build.journals()[name]))))  # noqa: S314 - our own


@pytest.mark.parametrize("name", sorted(build.journals()))
def test_the_file_is_well_formed_and_its_totals_are_right(tmp_path, name):
    root = rendered(tmp_path, name)
    cases = root.findall(".//testcase")
    assert int(root.get("tests")) == len(cases)
    assert int(root.get("failures")) == len(root.findall(".//failure"))
    assert int(root.get("errors")) == len(root.findall(".//error"))


def test_a_failure_carries_rules_faults_verdict_and_correlation_ids(tmp_path):
    (case,) = rendered(tmp_path, "retry").iter("testcase")
    found = {one.get("name"): one.get("value") for one in case.iter("property")}
    assert found["chaos.verdict"] == "failed"
    assert found["chaos.rule.R1"] == "FAIL on orders -> payments"
    assert found["chaos.rule.R4"] == "PASS on orders -> payments"
    assert found["chaos.fault"].endswith("3 hits")
    assert found["chaos.correlation_id"] == "chaos-9f1c2ab04d77-1"
    failure = case.find("failure")
    assert failure.get("type") == "Violation"
    assert failure.get("message").startswith("R1: 4 attempts")
    assert "witness" in failure.text


def test_an_inconclusive_is_a_failure_of_its_own_type_and_a_broken_set_up_an_error(tmp_path):
    root = rendered(tmp_path, "mixed")
    assert {one.get("type") for one in root.iter("failure")} == {"Violation", "Inconclusive"}
    assert [one.get("type") for one in root.iter("error")] == ["ChaosError"]


def test_a_dirty_run_says_so_and_no_secret_is_in_the_file(tmp_path):
    root = rendered(tmp_path, "hostile")
    assert {one.get("name"): one.get("value") for one in root.iter("property")}["chaos.dirty"] == "true"
    assert "s3cr3t" not in ET.tostring(root, encoding="unicode")
