"""Tiny real servers that do work and write it down: ``python -m tests.conformance.table.server KIND FILE``.

KIND is http, h2, grpc or tcp; the port is in PORT. The work of a call is one line in FILE, written when the whole
request is there; the file outlives a kill.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import os
import socketserver
import sys
from concurrent import futures

SERVICE, METHOD = "shop.Work", "Do"
PAD = "x" * 120


def body(marker):
    """What a server answers: long enough to be cut."""
    return f'{{"did": "{marker}", "pad": "{PAD}"}}'.encode()


class Ledger:
    """One line a piece of work; each is one write, so that lines of threads do not mix."""

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def did(self, marker):
        os.write(self._file, f"{marker}\n".encode())


def serve_http(port, ledger):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            marker = self.path.rpartition("/")[2]
            ledger.did(marker)
            said = body(marker)
            head = {"content-type": "application/json", "content-length": str(len(said)), "x-work": "done"}
            self.send_response(200)
            for name, value in {**head, "x-read": self.headers.get("x-from", "")}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_):
            pass

    Server(("127.0.0.1", port), Handler).serve_forever(0.05)


def serve_tcp(port, ledger):
    class Handler(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self):
            with contextlib.suppress(OSError):
                while line := self.rfile.readline():
                    marker = line.decode(errors="replace").strip("\0\n")
                    ledger.did(marker)
                    self.wfile.write(b"\0" + body(marker) + b"\n")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True
        request_queue_size = 64

        def handle_error(self, *_):
            pass

    Server(("127.0.0.1", port), Handler).serve_forever(0.05)


def serve_grpc(port, ledger):
    import grpc

    def do(request, context):
        marker = request.decode()
        ledger.did(marker)
        known = dict(context.invocation_metadata())
        context.send_initial_metadata((("x-work", "done"), ("x-read", known.get("x-from", ""))))
        return body(marker)

    server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
    handler = grpc.unary_unary_rpc_method_handler(do)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


class H2(asyncio.Protocol):
    """HTTP/2 with prior knowledge; answers are small enough for any window."""

    def __init__(self, ledger):
        import h2.config
        import h2.connection

        self._ledger = ledger
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self._heads = {}

    def connection_made(self, transport):
        self._transport = transport
        self._h2.initiate_connection()
        transport.write(self._h2.data_to_send())

    def data_received(self, data):
        import h2.events
        import h2.exceptions

        try:
            for event in self._h2.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self._heads[event.stream_id] = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self._answer(event.stream_id)
        except h2.exceptions.ProtocolError:
            self._transport.write(self._h2.data_to_send())
            self._transport.close()
            return
        self._transport.write(self._h2.data_to_send())

    def _answer(self, stream):
        head = self._heads.pop(stream)
        marker = head[":path"].rpartition("/")[2]
        self._ledger.did(marker)
        said = body(marker)
        answer = {":status": "200", "content-type": "application/json", "content-length": str(len(said))}
        answer.update({"x-work": "done", "x-read": head.get("x-from", "")})
        self._h2.send_headers(stream, list(answer.items()))
        self._h2.send_data(stream, said, end_stream=True)


def serve_h2(port, ledger):
    async def main():
        server = await asyncio.get_running_loop().create_server(lambda: H2(ledger), "127.0.0.1", port, backlog=64)
        await server.serve_forever()

    asyncio.run(main())


if __name__ == "__main__":
    kinds = {"http": serve_http, "h2": serve_h2, "grpc": serve_grpc, "tcp": serve_tcp}
    kinds[sys.argv[1]](int(os.environ["PORT"]), Ledger(sys.argv[2]))
