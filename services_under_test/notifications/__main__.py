"""Start the notifications service: ``python -m services_under_test.notifications``."""

from __future__ import annotations

from services_under_test.common.runner import main
from services_under_test.notifications.service import build

if __name__ == "__main__":
    main("notifications", build)
