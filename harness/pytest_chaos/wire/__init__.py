"""The request-aware proxy: a process of its own on every link (``python -m pytest_chaos.wire``); see docs/wire.md.

From the outside in: ``control`` takes orders (``ops``, ``fields``), ``links`` own the listeners, ``connection`` pairs a
caller with a callee (``ends``) and finds out what they speak; ``tcp``, ``http1/``, ``http2/`` or, for brokers,
``framed/`` with a reader of ``amqp/``, ``kafka/`` or ``resp/`` read it; ``table`` decides by the rules (``kinds``),
``acts`` carries the decision out on requests, ``toxics/`` on bytes; ``spool`` keeps the record.
"""
