"""Start the payments service: ``python -m services_under_test.payments``."""

from __future__ import annotations

from services_under_test.common.runner import main
from services_under_test.payments.api import build

if __name__ == "__main__":
    main("payments", build)
