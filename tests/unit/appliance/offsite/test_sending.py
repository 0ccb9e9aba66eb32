"""Backups on their way: to OpenSSH's own server with its key pinned, and to an S3 server that checks signatures."""

import asyncio
import socket
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from appliance.offsite import s3, sftp
from appliance.offsite.failing import SendError
from appliance.offsite.keep import Keep
from appliance.offsite.settings import S3, Sftp
from tests import ssh_server
from tests.device_pki import DevicePki
from tests.ports import free_port
from tests.s3_server import S3Server
from tests.ssh_server import SshServer

from .conftest import FILE, NAME, s3_of, sftp_of


@pytest.fixture
def key(tmp_path: Path, ssh: SshServer) -> Path:
    """The service's own key, which the server knows."""
    keep = Keep(tmp_path)
    ssh.authorize(keep.public_key())
    return keep.key


def put(settings: Sftp, key: Path, folder: Path, *, name: str = NAME, file: bytes = FILE) -> None:
    """Send one; nothing of it is left here, whatever came of it."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    try:
        asyncio.run(sftp.send(settings, name, file, key, scratch))
    finally:
        assert list(scratch.iterdir()) == []


# --- SFTP ------------------------------------------------------------------------------------------------------------


def test_it_lies_on_the_server_whole_and_under_its_own_name(ssh: SshServer, key: Path, tmp_path: Path) -> None:
    put(sftp_of(ssh), key, tmp_path)
    assert ssh.names() == [NAME]
    assert (ssh.files / NAME).read_bytes() == FILE


def test_it_goes_into_the_folder_that_was_named_and_takes_the_place_of_an_older_one(
    ssh: SshServer, key: Path, tmp_path: Path
) -> None:
    (ssh.files / "site").mkdir()
    (ssh.files / "site").chmod(0o777)
    for file in (b"older", FILE):
        put(sftp_of(ssh, directory="site"), key, tmp_path, file=file)
    assert ssh.names() == [f"site/{NAME}"]
    assert (ssh.files / "site" / NAME).read_bytes() == FILE
    put(sftp_of(ssh, directory=f"{ssh.files}/site/"), key, tmp_path, name=f"20260201{NAME[8:]}")
    assert len(ssh.names()) == 2


def test_a_server_with_another_key_gets_nothing(ssh: SshServer, key: Path, tmp_path: Path) -> None:
    other = ssh_server.new_key(tmp_path / "other")
    with pytest.raises(SendError, match="Host key verification failed"):
        put(sftp_of(ssh, host_keys=(other,)), key, tmp_path)
    assert ssh.names() == []
    assert "Accepted" not in ssh.log.read_text()


def test_one_key_of_those_that_are_pinned_is_enough(ssh: SshServer, key: Path, tmp_path: Path) -> None:
    """While the server's key is being changed."""
    other = ssh_server.new_key(tmp_path / "other", "rsa", 3072)
    put(sftp_of(ssh, host_keys=(other, ssh.host_key)), key, tmp_path)
    assert ssh.names() == [NAME]


def test_a_server_with_an_rsa_key_is_known_by_it(tmp_path: Path) -> None:
    keep = Keep(tmp_path)
    with ssh_server.folder() as place, ssh_server.serving(place, host_key="rsa", bits=3072) as server:
        server.authorize(keep.public_key())
        put(sftp_of(server), keep.key, tmp_path)
        assert server.names() == [NAME]


def test_what_keeps_it_from_being_sent_is_said(ssh: SshServer, key: Path, tmp_path: Path) -> None:
    with pytest.raises(SendError, match="No such file or directory"):
        put(sftp_of(ssh, directory="nowhere"), key, tmp_path)
    with pytest.raises(SendError, match="Connection refused"):
        put(sftp_of(ssh, port=free_port()), key, tmp_path)
    ssh.authorize()
    with pytest.raises(SendError, match="Permission denied"):
        put(sftp_of(ssh), key, tmp_path)
    assert ssh.names() == []


def test_of_what_was_sent_in_part_nothing_has_the_name(ssh: SshServer, key: Path, tmp_path: Path) -> None:
    """A folder that takes the file and not its name: nobody restores a half."""
    (ssh.files / NAME).mkdir()
    (ssh.files / NAME / "x").write_text("in the way")
    with pytest.raises(SendError):
        put(sftp_of(ssh), key, tmp_path)
    assert (ssh.files / NAME).is_dir()


def test_a_server_that_says_nothing_is_not_waited_for_without_end(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sftp, "ATTEMPT_SECONDS", 1.0)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = Sftp(host="127.0.0.1", port=port, user="x", host_keys=("ecdsa-sha2-nistp256 AAAA",))
        with pytest.raises(SendError, match="not sent within 1 seconds"):
            put(settings, key, tmp_path)


def test_the_key_is_made_once_and_is_this_account_s_alone(tmp_path: Path) -> None:
    keep = Keep(tmp_path)
    public = keep.public_key()
    assert public.startswith("ecdsa-sha2-nistp384 ")
    assert keep.key.stat().st_mode & 0o777 == 0o600
    assert Keep(tmp_path).public_key() == public
    assert sorted(place.name for place in tmp_path.iterdir()) == ["id_ecdsa", "id_ecdsa.pub"]


# --- S3 --------------------------------------------------------------------------------------------------------------


def transfer(settings: S3, secret: str, now: datetime) -> None:
    """Send the file; the loop goes on until TLS has ended, which aiohttp leaves to it, as the service's does."""

    async def to_the_end() -> None:
        try:
            await s3.send(settings, secret, NAME, FILE, now)
        finally:
            async with asyncio.timeout(10):
                sockets = asyncio.get_running_loop()._selector.get_map()  # type: ignore[attr-defined]
                while len(sockets) > 1:  # noqa: ASYNC110 - the loop's own pipe; of the others nobody says when they go
                    await asyncio.sleep(0.01)

    asyncio.run(to_the_end())


def upload(server: S3Server, *, secret: str = "", now: datetime | None = None, **settings: object) -> None:
    moment = now or datetime.now(UTC)
    transfer(s3_of(server, **settings), secret or server.secret, moment)


def test_it_lies_in_the_bucket_as_another_client_reads_it(bucket: S3Server) -> None:
    upload(bucket)
    assert bucket.read(f"gw1/{NAME}") == FILE
    upload(bucket, prefix="")
    assert bucket.read(NAME) == FILE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"secret": "this-is-not-the-secret"}, "403 SignatureDoesNotMatch"),
        ({"access_key_id": "AKIA0000000000000000"}, "403 InvalidAccessKeyId"),
        ({"bucket": "another"}, "40[34] (AccessDenied|NoSuchBucket)"),
    ],
)
def test_what_the_server_refuses_is_said_by_its_word(bucket: S3Server, change: dict[str, str], said: str) -> None:
    with pytest.raises(SendError, match=said) as refused:
        upload(bucket, **change)  # type: ignore[arg-type]
    assert bucket.secret not in str(refused.value)
    assert "not-the-secret" not in str(refused.value)


def test_a_server_whose_certificate_is_not_believed_gets_nothing(bucket: S3Server, pki: DevicePki) -> None:
    with pytest.raises(SendError, match="certificate verify failed"):
        upload(bucket, trust=pki.path("stranger"))
    other = msgspec.structs.replace(s3_of(bucket), endpoint=bucket.endpoint.replace("127.0.0.1", "localhost"))
    with pytest.raises(SendError, match="certificate"):
        transfer(other, bucket.secret, datetime.now(UTC))
    with pytest.raises(SendError, match="cannot be used"):
        upload(bucket, trust="/nowhere.pem")


def test_where_it_goes_is_written_as_s3_wants_it() -> None:
    settings = s3_of(S3Server("https://S3.example.test:443", "", "k", "s"), prefix="gw 1/")
    assert s3.target(settings, "a.backup") == ("s3.example.test", "/backups/gw%201/a.backup")
    settings = s3_of(S3Server("https://[2001:db8::1]:9000/", "", "k", "s"), prefix="")
    assert s3.target(settings, "a.backup") == ("[2001:db8::1]:9000", "/backups/a.backup")
