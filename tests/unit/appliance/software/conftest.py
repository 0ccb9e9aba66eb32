"""The machine that these tests share."""

from pathlib import Path

import pytest

from tests.unit.appliance.software.bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A machine with two slots."""
    return Bench(tmp_path)
