"""What the ACME tests share: a real ACME server, settings that lead to it, and requests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.acme.settings import Settings
from tests.acme_server import AcmeServer, serving
from tests.device_pki import DevicePki
from tests.site_pki import request_for

NOON = 1_800_000_000.0
HOST = "gateway.example.test"


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """The certificate that the ACME server shows, and its authority; and an authority that has nothing to do with it."""
    made = DevicePki(tmp_path_factory.mktemp("pki"))
    made.authority("company")
    made.authority("stranger")
    made.issue("acme", by="company", names="IP:127.0.0.1", usage="serverAuth")
    made.issue("elsewhere", by="company", names="DNS:other.test", usage="serverAuth")
    return made


@pytest.fixture(scope="session")
def server(pki: DevicePki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AcmeServer]:
    """An ACME server that takes everybody."""
    with serving(tmp_path_factory.mktemp("pebble"), pki.pair("acme"), Path(pki.path("company"))) as made:
        yield made


@pytest.fixture
def settings(server: AcmeServer) -> Settings:
    """Settings that lead there."""
    return settings_of(server)


def settings_of(server: AcmeServer, **rest: Any) -> Settings:
    """Settings that lead to a server, with proofs on loopback."""
    made = Settings(
        directory=server.directory,
        trust=str(server.trust),
        contacts=("pki@example.test",),
        terms_agreed=True,
        listen=("127.0.0.1",),
        port=server.proof_port,
    )
    return msgspec.structs.replace(made, **rest)


def request(*names: str) -> str:
    """A request (PKCS #10) for names, as PEM."""
    return request_for(*(names or (HOST,)))
