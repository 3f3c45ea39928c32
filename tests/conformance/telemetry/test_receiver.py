"""The receiver against the SDK's real exporters, and the decoder against OpenTelemetry's own messages."""

from __future__ import annotations

import gzip
import http.client
import json
import subprocess
import sys
import time

import pytest

from pytest_chaos.telemetry.decode import decode, read_spans
from pytest_chaos.telemetry.receiver import Receiver
from pytest_chaos.telemetry.spool import SpoolWriter

TRACE, SPAN, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"


@pytest.fixture
def receiver(tmp_path):
    one = Receiver(tmp_path / "spans.spool")
    one.ports = one.start()
    one.path = tmp_path / "spans.spool"
    yield one
    one.stop()
    one.stop()


def post(port: int, body: bytes, path: str = "/v1/traces", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def request_bytes(name: str = "POST /payments") -> bytes:
    return message(name).SerializeToString()


def message(name: str):
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    request = service.ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    pair = resource.resource.attributes.add()
    pair.key, pair.value.string_value = "service.name", "orders"
    span = resource.scope_spans.add().spans.add()
    span.trace_id, span.span_id = bytes.fromhex(TRACE), bytes.fromhex(SPAN)
    span.parent_span_id = bytes.fromhex(PARENT)
    span.name, span.kind = name, 3
    span.start_time_unix_nano, span.end_time_unix_nano = 1_700_000_000_000_000_001, 1_700_000_000_000_000_999
    span.status.code, span.status.message = 2, "késő"
    span.flags = 257
    for key, kind, value in [
        ("a", "string_value", "x"), ("b", "bool_value", True), ("c", "int_value", -5), ("d", "double_value", 2.5),
        ("e", "bytes_value", b"\x01\xff"),
    ]:  # fmt: skip
        pair = span.attributes.add()
        pair.key = key
        setattr(pair.value, kind, value)
    pair = span.attributes.add()
    pair.key = "list"
    for number in (1, 2):
        pair.value.array_value.values.add().int_value = number
    event = span.events.add()
    event.name, event.time_unix_nano = "exception", 1_700_000_000_000_000_500
    pair = event.attributes.add()
    pair.key, pair.value.string_value = "exception.type", "ReadTimeout"
    link = span.links.add()
    link.trace_id, link.span_id = bytes.fromhex(TRACE), bytes.fromhex(PARENT)
    return request


def test_every_field_that_we_keep_reads_as_opentelemetry_wrote_it(tmp_path):
    spool = SpoolWriter(tmp_path / "s")
    before = time.monotonic_ns()
    spool.put(request_bytes())
    (span,) = read_spans(tmp_path / "s", 0, spool.offset())
    spool.close()
    assert (span.trace_id, span.span_id, span.parent_id, span.service) == (TRACE, SPAN, PARENT, "orders")
    assert (span.name, span.kind, span.status, span.status_message) == ("POST /payments", "client", "error", "késő")
    assert (span.start_unix_ns % 1000, span.end_unix_ns % 1000) == (1, 999)
    assert span.attributes == {"a": "x", "b": True, "c": -5, "d": 2.5, "e": "01ff", "list": "[1,2]"}
    assert type(span.attributes["b"]) is bool
    assert (span.events[0].name, span.events[0].attributes) == ("exception", {"exception.type": "ReadTimeout"})
    assert (span.links[0].trace_id, span.links[0].span_id) == (TRACE, PARENT)
    assert before <= span.received_ns <= time.monotonic_ns()


def test_the_sdks_exporters_reach_the_spool_on_both_protocols(receiver):
    """A process of its own, as services are; the SDK's globals stay out of this one."""
    program = """
import os, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http
from opentelemetry.exporter.otlp.proto.http import Compression
http, grpc = sys.argv[1:]
for name, exporter in [("g", Grpc(endpoint=f"http://127.0.0.1:{grpc}", insecure=True)),
                       ("h", Http(endpoint=f"http://127.0.0.1:{http}/v1/traces", compression=Compression.Gzip))]:
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("t")
    for number in range(200):
        with tracer.start_as_current_span(f"s{number}", attributes={"n": number}):
            pass
    provider.shutdown()
"""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")
    argv = [sys.executable, "-c", program, str(receiver.ports["http"]), str(receiver.ports["grpc"])]
    subprocess.run(argv, check=True, timeout=30, capture_output=True)
    found = decode(receiver.path, 0, receiver.offset())
    assert (len(found.spans), found.duplicates, found.malformed) == (400, 0, 0)
    assert {span.service for span in found.spans} == {"g", "h"}
    assert sorted(span.attributes["n"] for span in found.spans if span.service == "g") == list(range(200))


def test_json_and_gzip_and_chunks_are_taken(receiver):
    body = json.dumps({
        "resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "js"}}]},
            "scopeSpans": [{"spans": [{
                "traceId": TRACE.upper(), "spanId": "00000000000000aa", "name": "s", "kind": 2,
                "startTimeUnixNano": "5", "endTimeUnixNano": "6",
                "attributes": [{"key": "n", "value": {"intValue": "7"}}], "status": {}, "someday": 1,
            }]}],
        }]
    }).encode()  # fmt: skip
    port = receiver.ports["http"]
    assert post(port, body, Content_Type="application/json") == (200, b"{}")
    assert post(port, gzip.compress(request_bytes()), Content_Encoding="gzip") == (200, b"")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    other = request_bytes("chunked").replace(bytes.fromhex(SPAN), bytes.fromhex(PARENT)[::-1])
    connection.request("POST", "/v1/traces", iter([other[:10], other[10:]]), encode_chunked=True)
    assert connection.getresponse().read() == b""
    connection.close()
    spans = read_spans(receiver.path, 0, receiver.offset())
    assert {(span.service, span.name, span.kind) for span in spans} == {
        ("js", "s", "server"), ("orders", "POST /payments", "client"), ("orders", "chunked", "client"),
    }  # fmt: skip
    assert next(span for span in spans if span.service == "js").attributes == {"n": 7}


@pytest.mark.parametrize(
    ("body", "path", "headers", "status"),
    [
        (b"x", "/v1/elsewhere", {}, 404),
        (b"not gzip", "/v1/traces", {"Content_Encoding": "gzip"}, 400),
        (gzip.compress(b"cut off", mtime=0)[:-6], "/v1/traces", {"Content_Encoding": "gzip"}, 400),
        (b"x", "/v1/traces", {"Content_Encoding": "br"}, 415),
        (b"x", "/v1/logs", {}, 200),
    ],
)
def test_what_is_not_a_trace_never_reaches_the_spool(receiver, body, path, headers, status):
    assert post(receiver.ports["http"], body, path, **headers)[0] == status
    assert receiver.offset() == 0


def test_a_bomb_is_not_unpacked(receiver):
    assert post(receiver.ports["http"], gzip.compress(bytes(70 * 1024 * 1024)), Content_Encoding="gzip")[0] == 413


def test_a_resent_span_counts_once_and_a_malformed_request_takes_nothing_else_down(receiver):
    port = receiver.ports["http"]
    for body in (request_bytes(), b"\x0a\xff garbage", b'{"resourceSpans": 5}', request_bytes("again")):
        post(port, body)
    found = decode(receiver.path, 0, receiver.offset())
    assert [span.name for span in found.spans] == ["POST /payments"]
    assert (found.duplicates, found.malformed) == (1, 2)


def test_only_the_asked_stretch_is_read(receiver):
    port = receiver.ports["http"]
    post(port, request_bytes())
    middle = receiver.offset()
    later = request_bytes("later").replace(bytes.fromhex(SPAN), bytes.fromhex(PARENT)[::-1])
    post(port, later)
    end = receiver.offset()
    assert [span.name for span in read_spans(receiver.path, middle, end)] == ["later"]
    assert [span.name for span in read_spans(receiver.path, 0, end - 1)] == ["POST /payments"]
    assert list(read_spans(receiver.path, end, end)) == []


def test_a_receiver_listens_on_loopback_only_and_lets_its_ports_go(tmp_path):
    receiver = Receiver(tmp_path / "s")
    ports = receiver.start()
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=False).stdout
    receiver.stop()
    for port in ports.values():
        with pytest.raises(OSError, match="refused"):
            http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
        if listening:
            # gRPC's library binds the mapped form of the same address.
            assert f"127.0.0.1:{port} " in listening or f"[::ffff:127.0.0.1]:{port} " in listening
            assert f"*:{port} " not in listening
            assert f"0.0.0.0:{port} " not in listening
