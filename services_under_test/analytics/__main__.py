"""Start the analytics service: ``python -m services_under_test.analytics``."""

from __future__ import annotations

from services_under_test.analytics.service import build
from services_under_test.common.runner import main

if __name__ == "__main__":
    main("analytics", build)
