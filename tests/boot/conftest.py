"""The images that the slow tests look at, built once as an operator builds them."""

from pathlib import Path

import pytest

from images.paths import Layout
from tests.images_built import VERSION, playbook


@pytest.fixture(scope="session")
def built(layout: Layout) -> Path:
    """What ships, for all targets."""
    playbook("target=all", f"version={VERSION}")
    return layout.build / "images" / VERSION
