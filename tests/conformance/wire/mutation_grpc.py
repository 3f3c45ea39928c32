"""gRPC on HTTP/2, frame by frame: whole conversations, how one who knows breaks them, and what they say."""

from __future__ import annotations

import itertools
import struct

import hpack

from pytest_chaos.wire.connection import PREFACE
from pytest_chaos.wire.http2 import frames
from pytest_chaos.wire.http2.headers import Block, HeaderWriter
from tests.conformance.wire.mutation_kit import FRAME_RULES, SIZES, Language, mutated, replaced, said

REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"x"), (b"content-type", b"application/grpc")]


def grpc_talk_of(chance, name):
    """Calls of all four kinds on one HTTP/2 connection, in each other's midst."""
    callers, callees = HeaderWriter(), HeaderWriter()
    turns = [("caller", PREFACE + frames.build(frames.SETTINGS, 0, 0)), ("callee", frames.build(frames.SETTINGS, 0, 0))]
    turns += said("callee", frames.build(frames.SETTINGS, frames.ACK, 0))
    turns += said("caller", frames.build(frames.SETTINGS, frames.ACK, 0))
    calls = [_grpc_call(chance, name, stream, callers, callees) for stream in range(1, 2 * chance.randint(1, 4), 2)]
    if chance.random() < 0.5:
        return turns + list(itertools.chain(*calls))
    # A header block depends on those before it: only the writers' order is kept, and each call's own.
    return turns + [turn for step in itertools.zip_longest(*calls) for turn in step if turn]


def _grpc_call(chance, name, stream, callers, callees):
    head = Block([*REQUEST, (b":path", f"/{name}.S/Do".encode()), (b"te", b"trailers"), (b"x-a", b"1")])
    answer = Block([(b":status", b"200"), (b"content-type", b"application/grpc"), (b"x-a", b"1")])
    ends = Block([(b"grpc-status", b"%d" % chance.choice([0, 0, 14])), (b"x-t", b"1")])
    end = frames.END_STREAM
    asked = [frames.build(frames.DATA, 0, stream, grpc_message(chance)) for _ in range(chance.randint(0, 3))]
    told = [frames.build(frames.DATA, 0, stream, grpc_message(chance)) for _ in range(chance.randint(0, 3))]
    return [
        ("caller", (stream, callers, head, False)), *said("caller", *asked),
        ("caller", frames.build(frames.DATA, end, stream, grpc_message(chance))),
        ("callee", (stream, callees, answer, False)), *said("callee", *told), ("callee", (stream, callees, ends, True)),
    ]  # fmt: skip


def grpc_written(talk):
    """Write header blocks once their order on the connection is known."""

    def written(chance, name):
        return [
            (side, what if isinstance(what, bytes) else what[1].frames(what[0], what[2], end=what[3]))
            for side, what in talk(chance, name)
        ]

    return written


def grpc_message(chance):
    data = chance.randbytes(chance.choice([0, 1, 40, 2000]))
    return struct.pack(">BI", 0, len(data)) + data


def grpc_warp(chance, data):  # noqa: PLR0911 - one for each way
    """Another length, kind, stream or flags; a message that says that it is huge; control frames that make no sense."""
    if data.startswith(PREFACE):
        return mutated(chance, data)
    match chance.randrange(6):
        case 0:
            return replaced(data, 0, chance.choice(SIZES).to_bytes(4, "big")[1:])
        case 1:
            return replaced(data, 3, bytes([chance.randrange(12)]))
        case 2:
            return replaced(data, 4, bytes([chance.randrange(256)]))
        case 3:
            return replaced(data, 5, chance.choice([0, 1, 2, 3, 5, 999, 2**31 - 1, 2**32 - 1]).to_bytes(4, "big"))
        case 4:
            return replaced(data, 9, struct.pack(">BI", chance.randrange(3), chance.choice(SIZES)))
        case _:
            stream = chance.choice([0, 1, 3, 7])
            kind, size = chance.choice([(3, 4), (4, 6), (4, 5), (5, 9), (6, 8), (7, 8), (8, 4), (8, 3), (9, 6), (2, 5)])
            return data + frames.build(kind, chance.choice([0, 1, 4, 8]), stream, chance.randbytes(size))


def grpc_heard(data):
    """What streams carry, read with hpack's own decoder: header blocks and bodies by stream, in order."""
    data = bytes(data).removeprefix(PREFACE)
    decoder, found, at = hpack.Decoder(), {}, 0
    while at + 9 <= len(data):
        size, kind, flags = int.from_bytes(data[at : at + 3], "big"), data[at + 3], data[at + 4]
        stream, part = int.from_bytes(data[at + 5 : at + 9], "big"), data[at + 9 : at + 9 + size]
        if len(part) < size:
            break
        at += 9 + size
        heard = found.setdefault(stream, [])
        if kind == frames.HEADERS:
            heard.append((sorted(decoder.decode(part)), flags & 1))
        elif kind == frames.DATA:
            heard.append((part, flags & 1))
    found.pop(0, None)
    return found


GRPC_RULES = [
    {**{key: value for key, value in rule.items() if key != "operation"}, "operation": "/broken.S/Do"}
    for rule in [
        *FRAME_RULES,
        {"kind": "header", "params": {"name": "x-a", "value": None, "at": "response"}},
        {"kind": "grpc_abort", "params": {"code": 14, "messages": 1}},
        {"kind": "grpc_abort", "params": {"code": 14, "messages": 1, "at": "request"}, "when": {"probability": 0.03}},
        {"kind": "grpc_status", "params": {"code": 14}, "when": {"probability": 0.03}},
        {"kind": "grpc_status", "params": {"code": 14, "forward": True}, "when": {"probability": 0.03}},
        {"kind": "status", "params": {"code": 503}, "when": {"probability": 0.1}},
        {"kind": "stall", "params": {"bytes": 1, "ms": 1}},
        {"kind": "drip", "params": {"bytes": 10, "interval_ms": 1}},
    ]
]
GRPC = Language(
    protocol=None,
    talk=grpc_written(grpc_talk_of),
    warp=grpc_warp,
    rules=GRPC_RULES,
    exact=False,
    heard=grpc_heard,
)
