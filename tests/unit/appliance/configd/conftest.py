"""A configd over the site of `people`, and a machine of which it tells."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.configd.facts.context import Context
from tests.unit.appliance.configd.people import TREE
from tests.unit.appliance.configd.shown import Box
from tests.unit.appliance.workbench import ACCOUNTS, ALICE, Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    made = Daemon(tmp_path)
    made.commit(TREE)
    return made


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def context(box: Box, tmp_path: Path) -> Context:
    """What topics are told from: a small configuration, and what the box says."""
    made = Daemon(tmp_path)
    made.commit({"name": "box", "users": {"accounts": ACCOUNTS}, "web": {"token": "hunter22"}})
    made.open(ALICE)
    return replace(made.context(), system=box, attempt=box.attempt)
