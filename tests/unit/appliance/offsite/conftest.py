"""What the tests of sending share: real servers on loopback, and the files that are sent."""

from collections.abc import Iterator

import pytest

from appliance.offsite.settings import S3, Sftp
from tests import s3_server, ssh_server
from tests.device_pki import DevicePki

NAME = "20260131T180000Z-7.backup"
FILE = b"SENTRY-BACKUP\n{}\n" + bytes(range(256)) * 64


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """The certificate of the S3 server and its authority; and an authority that has nothing to do with it."""
    made = DevicePki(tmp_path_factory.mktemp("pki"))
    made.authority("company")
    made.authority("stranger")
    made.issue("s3", by="company", names="IP:127.0.0.1", usage="serverAuth")
    return made


@pytest.fixture(scope="session")
def bucket(pki: DevicePki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_server.S3Server]:
    """An S3 server with a bucket."""
    with s3_server.serving(tmp_path_factory.mktemp("s3"), pki.pair("s3"), pki.path("company")) as made:
        yield made


@pytest.fixture
def ssh() -> Iterator[ssh_server.SshServer]:
    """An SFTP server; the folder is one that its account may enter."""
    with ssh_server.folder() as place, ssh_server.serving(place) as made:
        yield made


def sftp_of(server: ssh_server.SshServer, **more: object) -> Sftp:
    """Settings that lead to an SFTP server."""
    fields = {"host": "127.0.0.1", "port": server.port, "user": server.user, "host_keys": (server.host_key,)}
    return Sftp(**{**fields, **more})  # type: ignore[arg-type]


def s3_of(server: s3_server.S3Server, **more: object) -> S3:
    """Settings that lead to a bucket."""
    fields = {
        "endpoint": server.endpoint,
        "region": s3_server.REGION,
        "bucket": s3_server.BUCKET,
        "prefix": "gw1/",
        "access_key_id": server.key_id,
        "trust": server.trust,
    }
    return S3(**{**fields, **more})  # type: ignore[arg-type]
