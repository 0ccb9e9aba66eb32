"""A real SSH server with SFTP and nothing else: OpenSSH's own (Debian's package openssh-server), by an account without rights.

That is `daemon` and not `nobody`, of whom systemd says that it is locked.
"""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

SSHD = "/usr/sbin/sshd"
START_SECONDS = 30.0
CONFIGURATION = """\
Port {port}
ListenAddress {host}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthenticationMethods publickey
Subsystem sftp internal-sftp
ForceCommand internal-sftp -d {folder}/files
LogLevel VERBOSE
"""


@dataclass(frozen=True)
class SshServer:
    """A running server: where it listens, who may log in, its public key, and the folder that it gives."""

    port: int
    user: str
    host_key: str
    files: Path
    authorized: Path
    log: Path

    def authorize(self, *public_keys: str) -> None:
        """These keys log in, and no others."""
        self.authorized.write_text("".join(f"{one}\n" for one in public_keys))
        self.authorized.chmod(0o644)

    def names(self) -> list[str]:
        """What lies there."""
        return sorted(str(place.relative_to(self.files)) for place in self.files.rglob("*") if place.is_file())


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """One that an account without rights may enter: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="sentry-ssh-") as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


def new_key(place: Path, kind: str = "ecdsa", bits: int = 256) -> str:
    """A key pair at `place`; its public half, without a comment."""
    argv = ["ssh-keygen", "-q", "-t", kind, "-b", str(bits), "-N", "", "-C", "", "-f", str(place)]
    subprocess.run(argv, check=True, capture_output=True)
    return " ".join(place.with_name(f"{place.name}.pub").read_text().split()[:2])


@contextlib.contextmanager
def serving(
    folder: Path, *, host: str = "127.0.0.1", port: int | None = None, host_key: str = "ecdsa", bits: int = 256
) -> Iterator[SshServer]:
    """Run it until the block ends. A folder that it has served before keeps its key and its files."""
    assert Path(SSHD).exists(), "no sshd: `.ci/setup tests` installs openssh-server"
    files, authorized, log = folder / "files", folder / "authorized_keys", folder / "log"
    files.mkdir(parents=True, exist_ok=True)
    place = folder / "host_key"
    if not place.exists():
        new_key(place, host_key, bits)
        authorized.write_text("")
    public = " ".join(place.with_name("host_key.pub").read_text().split()[:2])
    account = pwd.getpwnam("daemon") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    port = port or free_port()
    (folder / "sshd_config").write_text(CONFIGURATION.format(host=host, port=port, folder=folder))
    if os.getuid() == 0:
        for one in (folder, files, place):
            shutil.chown(one, account.pw_uid, account.pw_gid)
    with log.open("w") as errors:
        server = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            user=account.pw_uid if os.getuid() == 0 else None,
            group=account.pw_gid if os.getuid() == 0 else None,
            extra_groups=() if os.getuid() == 0 else None,
        )
    try:
        _wait(host, port, server, log)
        yield SshServer(port, account.pw_name, public, files, authorized, log)
    finally:
        server.terminate()
        server.wait(START_SECONDS)


def _wait(host: str, port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until it answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"no sshd after {START_SECONDS} s: {log.read_text()}")
