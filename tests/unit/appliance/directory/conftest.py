"""What the tests of the directory share: a real one on loopback, and settings that lead to it."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.directory.settings import Group, Server, Settings
from tests import directory_server
from tests.device_pki import DevicePki
from tests.directory_server import DirectoryServer


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """The certificate of the directory's server and its authority; one for another name, and a stranger's authority."""
    made = DevicePki(tmp_path_factory.mktemp("pki"))
    made.authority("company")
    made.authority("stranger")
    made.issue("directory", by="company", names="IP:127.0.0.1", usage="serverAuth")
    made.issue("another", by="company", names="DNS:another.lab.test", usage="serverAuth")
    return made


@pytest.fixture(scope="session")
def directory(pki: DevicePki) -> Iterator[DirectoryServer]:
    """A directory that stands for all tests."""
    pair, trust = pki.pair("directory"), pki.path("company")
    with directory_server.folder() as place, directory_server.serving(place, pair, trust) as made:
        yield made


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """The file of the account's password."""
    place = tmp_path / "bind.secret"
    place.write_text(directory_server.ACCOUNT_SECRET)
    return str(place)


@contextlib.contextmanager
def no_threads() -> Iterator[None]:
    """Nobody can start a thread meanwhile: its stack would be larger than what a process can address."""
    before = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(before)


def server_of(directory: DirectoryServer, security: str = "ldaps") -> Server:
    """Where it listens for this."""
    return Server(host=directory.host, port=directory.ldaps if security == "ldaps" else directory.ldap)


def settings_of(directory: DirectoryServer, **more: object) -> Settings:
    """Settings that lead to it."""
    fields = {
        "servers": (server_of(directory, str(more.get("security", "ldaps"))),),
        "security": "ldaps",
        "trust": directory.trust,
        "base": directory_server.PEOPLE,
        "bind": "account",
        "account": directory_server.ACCOUNT,
        "password_path": "/nowhere",
        "user_attribute": "uid",
        "membership": "member",
        "groups": (
            Group(dn=directory_server.ADMINISTRATORS, role="administrator"),
            Group(dn=directory_server.OPERATORS, role="operator"),
            Group(dn=directory_server.AUDITORS, role="auditor"),
        ),
        "timeout_seconds": 5,
    }
    return Settings(**{**fields, **more})  # type: ignore[arg-type]
