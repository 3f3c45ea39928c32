"""One line a record, to stderr, with the id of the request that it belongs to."""

from __future__ import annotations

import logging
import sys

from services_under_test.common import correlation


class _Context(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Add the correlation id of the work in hand."""
        record.correlation_id = correlation.current() or "-"
        return True


def set_up(service: str, level: str = "INFO") -> None:
    """Send all records to stderr in one format: time, level, service, correlation id, text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Context())
    handler.setFormatter(
        logging.Formatter(
            f"%(asctime)s.%(msecs)03d %(levelname)s {service} [%(correlation_id)s] %(message)s", "%H:%M:%S"
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Their lines say nothing that ours do not, once a request or once a lost connection.
    for noisy in ("httpx", "httpcore", "aiormq", "aio_pika", "aiokafka", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # A receiver that is away is no news about this service.
    for exporter in ("opentelemetry.exporter", "opentelemetry.sdk"):
        logging.getLogger(exporter).setLevel(logging.CRITICAL)
