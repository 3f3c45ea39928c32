"""Start the inventory service: ``python -m services_under_test.inventory``."""

from __future__ import annotations

from services_under_test.common.runner import main
from services_under_test.inventory.api import build

if __name__ == "__main__":
    main("inventory", build)
