"""Start the users service: ``python -m services_under_test.users``."""

from __future__ import annotations

from services_under_test.common.runner import main
from services_under_test.users.service import build

if __name__ == "__main__":
    main("users", build)
