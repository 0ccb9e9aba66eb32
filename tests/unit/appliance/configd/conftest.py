"""A configd over that site."""

from pathlib import Path

import pytest

from tests.unit.appliance.configd.people import TREE
from tests.unit.appliance.workbench import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    made = Daemon(tmp_path)
    made.commit(TREE)
    return made
