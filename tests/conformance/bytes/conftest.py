"""Each contract is kept by both engines: Toxiproxy behind wire, and wire alone."""

from __future__ import annotations

import pytest

from pytest_chaos.errors import PartMissing
from tests.conformance.bytes.kit import Link


@pytest.fixture(params=["toxiproxy", "wire"])
def link(request, tmp_path):
    try:
        one = Link(request.param, tmp_path)
    except PartMissing as missing:
        pytest.skip(str(missing))
    yield one
    one.close()


@pytest.fixture
def wire_link(tmp_path):
    one = Link("wire", tmp_path)
    yield one
    one.close()
