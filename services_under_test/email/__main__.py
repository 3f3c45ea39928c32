"""Start the email service: ``python -m services_under_test.email``."""

from __future__ import annotations

from services_under_test.common.runner import main
from services_under_test.email.service import build

if __name__ == "__main__":
    main("email", build)
