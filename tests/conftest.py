"""What every test has: the choice of a processor that isn't there."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bf16",
        choices=("off", "on"),
        help="let models take this processor for one that multiplies bfloat16 itself, or for one that doesn't",
    )


def pytest_configure(config: pytest.Config) -> None:
    if (choice := config.getoption("--bf16")) is not None:
        from wildsat_core.models import precision

        # Before any other module asks for it by name. Processes that a test starts see the real processor.
        precision.supports_bf16 = lambda _: choice == "on"
