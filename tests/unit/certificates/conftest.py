"""A company's authorities and devices' certificates."""

import pytest

from tests.device_pki import DevicePki, company


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """The company."""
    return company(tmp_path_factory.mktemp("devices"))
