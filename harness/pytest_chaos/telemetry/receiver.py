"""An OTLP receiver on this host: traces over HTTP (protobuf, JSON, gzip) and, where grpcio is installed, over gRPC.

Nothing is parsed here: the body goes to the spool as it came, with its arrival time, and is decoded when a test asks.
Logs and metrics are accepted and dropped, so that exporters do not retry them.
"""

from __future__ import annotations

import contextlib
import http.server
import importlib.util
import socketserver
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pytest_chaos.telemetry.spool import SpoolWriter

_HOST = "127.0.0.1"
_LIMIT = 64 * 1024 * 1024
_TRACES = "/v1/traces"
_DROPPED = ("/v1/logs", "/v1/metrics")
_GRPC_TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_GRPC_PREFIX = "/opentelemetry.proto.collector."
_IDLE_S = 60.0


class Receiver:
    """Receives into a spool file until stopped, in threads of its own."""

    def __init__(self, spool: Path) -> None:
        self._path = spool
        self._spool: SpoolWriter | None = None
        self._http: _HttpServer | None = None
        self._grpc: Any = None

    def start(self, host: str = _HOST) -> dict[str, int]:
        """Listen on free ports of loopback, or of the containers' gateway; give ``{"http": port, "grpc": port}``.

        There is no ``grpc`` without grpcio.
        """
        spool = self._spool = SpoolWriter(self._path)
        self._http = _HttpServer((host, 0), _Handler)
        self._http.spool = spool
        threading.Thread(target=self._http.serve_forever, args=(0.1,), name="otlp-http", daemon=True).start()
        ports = {"http": int(self._http.server_address[1])}
        if importlib.util.find_spec("grpc") is not None:
            self._grpc, ports["grpc"] = _serve_grpc(spool, host)
        return ports

    def offset(self) -> int:
        """Give the spool's size in bytes: everything whose sender has its answer lies before it."""
        return self._spool.offset() if self._spool is not None else 0

    def stop(self) -> None:
        """Stop listening and close the spool; safe to call twice."""
        if self._grpc is not None:
            self._grpc.stop(0).wait()
            self._grpc = None
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None
        if self._spool is not None:
            self._spool.close()


def _serve_grpc(spool: SpoolWriter, host: str) -> tuple[Any, int]:
    import grpc  # noqa: PLC0415 - an extra

    def export(body: bytes, _context: object) -> bytes:
        spool.put(body)
        return b""  # an empty message is a full success

    def drop(_body: bytes, _context: object) -> bytes:
        return b""

    class Otlp(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
        """No deserializer: the handler sees bytes."""

        def service(self, call: Any) -> Any:
            """Take exports of traces, drop those of logs and metrics, know nothing else."""
            if call.method == _GRPC_TRACES:
                return grpc.unary_unary_rpc_method_handler(export)
            if call.method.startswith(_GRPC_PREFIX) and call.method.endswith("/Export"):
                return grpc.unary_unary_rpc_method_handler(drop)
            return None

    options = [("grpc.max_receive_message_length", _LIMIT), ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(2, "otlp-grpc"), handlers=[Otlp()], options=options)
    port = server.add_insecure_port(f"{host}:0")
    server.start()
    return server, int(port)


class _HttpServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    spool: SpoolWriter


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    server: _HttpServer

    def do_POST(self) -> None:
        """Take one export."""
        try:
            body = self._body()
        except _RefusedError as refused:
            self.close_connection = True
            self._answer(refused.status, str(refused).encode(), "text/plain")
            return
        json = self.headers.get_content_type() == "application/json"
        path = self.path.partition("?")[0]
        if path == _TRACES:
            self.server.spool.put(body)
        elif path not in _DROPPED:
            self._answer(404, b"this receives /v1/traces", "text/plain")
            return
        self._answer(200, b"{}" if json else b"", "application/json" if json else "application/x-protobuf")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: exports are many and dull."""

    def handle(self) -> None:
        """Serve a connection until it ends, in whatever way."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def _body(self) -> bytes:
        raw = self._chunks() if "chunked" in self.headers.get("Transfer-Encoding", "").lower() else self._whole()
        encoding = self.headers.get("Content-Encoding", "identity").lower()
        if encoding == "identity":
            return raw
        if encoding not in ("gzip", "deflate"):
            raise _RefusedError(415, f"content-encoding {encoding[:20]!r}: gzip, deflate or none")
        unpack = zlib.decompressobj(wbits=47)  # finds gzip's and zlib's header by itself
        try:
            body = unpack.decompress(raw, _LIMIT)
        except zlib.error as wrong:
            raise _RefusedError(400, f"not {encoding}: {wrong}") from None
        if unpack.unconsumed_tail or not unpack.eof:
            raise _RefusedError(413 if unpack.unconsumed_tail else 400, "too large or cut off when unpacked")
        return body

    def _whole(self) -> bytes:
        told = self.headers.get("Content-Length", "")
        if not told.isdecimal():
            raise _RefusedError(411, "a body needs Content-Length or chunks")
        if int(told) > _LIMIT:
            raise _RefusedError(413, f"at most {_LIMIT} bytes")
        return self._exactly(int(told))

    def _chunks(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            try:
                length = int(self.rfile.readline(64).partition(b";")[0], 16)
            except ValueError:
                raise _RefusedError(400, "a chunk without a size") from None
            if length < 0 or (size := size + length) > _LIMIT:
                raise _RefusedError(413, f"at most {_LIMIT} bytes")
            if length == 0:
                break
            parts.append(self._exactly(length))
            self.rfile.readline(8)
        while self.rfile.readline(8192).strip():
            pass  # trailers
        return b"".join(parts)

    def _exactly(self, size: int) -> bytes:
        body = self.rfile.read(size)
        if len(body) < size:
            raise _RefusedError(400, "the body is cut off")
        return body

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _RefusedError(Exception):
    """A request that is not taken; ``status`` is HTTP's."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
