"""Thousands of broken conversations in each protocol through wire: no crash, no hang, flat memory, others well."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.wire.mutation_kit import FLAT_MIB, STREAMS
from tests.conformance.wire.mutation_storm import storm
from tests.conformance.wire.mutation_talks import LANGUAGES


@pytest.mark.timeout(300 if STREAMS <= 2_000 else 0)
@pytest.mark.parametrize("language", LANGUAGES)
def test_broken_conversations_end_and_disturb_nobody(wire, language):
    weather = asyncio.run(storm(wire, LANGUAGES[language]))
    print(language, weather.counts, weather.hits, weather.grown_mib)
    assert weather.wrong == [], "\n".join(weather.wrong[:40])
    assert wire.process.poll() is None
    assert wire.stderr.read_text() == ""
    assert min(weather.counts.values()) > 10
    # Every kind of rule must have acted, else these conversations have shown nothing about it.
    assert {rule["kind"] for rule in LANGUAGES[language].rules} <= {kind for kind, hits in weather.hits.items() if hits}
    assert weather.grown_mib < FLAT_MIB
