"""From the spool to spans, when a test asks: only its own stretch, each span once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_chaos.model.span import Span
from pytest_chaos.telemetry import otlp_json, otlp_protobuf
from pytest_chaos.telemetry.spool import read_batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The spans of a stretch in order of their start.

    ``duplicates`` counts spans that came again (OTLP allows re-sending after a lost answer; a flood is a symptom),
    ``malformed`` the requests that could not be read.
    """

    spans: tuple[Span, ...]
    duplicates: int = 0
    malformed: int = 0


def read_spans(path: Path, start: int, end: int) -> Sequence[Span]:
    """Read the spool's bytes ``start`` to ``end`` as spans, each once, in order of their start."""
    return decode(path, start, end).spans


def decode(path: Path, start: int, end: int) -> Decoded:
    """Read the spool's bytes ``start`` to ``end``; the first arrival of a span counts."""
    known: dict[tuple[str, str], Span] = {}
    duplicates = malformed = 0
    for batch in read_batches(path, start, end):
        # JSON begins with a brace; a protobuf request with the tag of its only field, 0x0A.
        reader = otlp_json if batch.body.lstrip()[:1] == b"{" else otlp_protobuf
        try:
            found = list(reader.spans(batch.body, batch.at_ns))
        except ValueError:
            malformed += 1
            continue
        for span in found:
            key = (span.trace_id, span.span_id)
            duplicates += key in known
            known.setdefault(key, span)
    ordered = sorted(known.values(), key=lambda span: (span.start_unix_ns, span.span_id))
    return Decoded(spans=tuple(ordered), duplicates=duplicates, malformed=malformed)
