"""Start the orders service: ``python -m services_under_test.orders``."""

from __future__ import annotations

from services_under_test.common.runner import main
from services_under_test.orders.service import build

if __name__ == "__main__":
    main("orders", build)
