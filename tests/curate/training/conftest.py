"""Fixtures of the tests of training."""

from typing import Any

import pytest

from tests.unit_aligner import trained


@pytest.fixture(scope="session")
def unit_aligner() -> tuple[Any, Any]:
    """Model and tokenizer that learned to put units right and to leave right answers alone."""
    return trained("cpu", 1.25, 16_000)
