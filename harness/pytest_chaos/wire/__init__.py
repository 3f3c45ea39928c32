"""The request-aware proxy: a process of its own on every link (``python -m pytest_chaos.wire``); see docs/wire.md.

From the outside in: ``control`` takes orders, ``links`` own the listeners, ``connection`` pairs a caller with a callee
and finds out what they speak, ``tcp``/``http1``/``http2`` read it, ``table`` decides, ``acts`` carries the decision
out, ``spool`` keeps the record.
"""
