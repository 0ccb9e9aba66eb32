"""The running appliance as the tests see it: what `build/appliance.json` says, and the ways in that it names."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from images.run import Done, run

Measured = Callable[[str, float], None]
"""What a test measured: what it is, and the seconds; pytest's closing summary shows it."""

SSH_SECONDS = (
    180.0  # one command; a commit with every check takes seconds, and a minute where the machine has much else to do
)


@dataclass(frozen=True, slots=True)
class Ssh:
    """An administrator's way to the CLI."""

    user: str
    port: int
    key: Path


@dataclass(frozen=True, slots=True)
class Admin:
    """An administrator's way into the portal."""

    user: str
    password_file: Path

    @property
    def password(self) -> str:
        """The password itself."""
        return self.password_file.read_text(encoding="utf-8").strip()


@dataclass(frozen=True, slots=True)
class Builder:
    """The automation account, which has sudo."""

    user: str
    key: Path


@dataclass(frozen=True, slots=True)
class Addresses:
    """The appliance's address in each zone."""

    device: str
    management: str
    backend: str


@dataclass(frozen=True, slots=True)
class Lab:
    """The running appliance; its fields are those of `build/appliance.json`."""

    name: str
    address: str
    addresses: Addresses
    gateway_url: str
    portal_url: str
    ssh: Ssh
    admin: Admin
    builder: Builder
    ca_file: Path
    uem_url: str
    known_hosts: Path

    @property
    def device_url(self) -> str:
        """Where a device finds ActiveSync: the gateway's address in the device zone."""
        return f"https://{self.addresses.device}/Microsoft-Server-ActiveSync"

    @property
    def enable_secret(self) -> str:
        """What `enable` asks for."""
        return self.admin.password_file.with_name("enable.secret").read_text(encoding="utf-8").strip()

    def cli(self, *lines: str, check: bool = True) -> Done:
        """Run CLI lines over SSH as the administrator: one as the SSH command, several on standard input."""
        if len(lines) == 1:
            return run([*self._ssh(self.ssh.user, self.ssh.key), lines[0]], check=check, seconds=SSH_SECONDS)
        text = "".join(f"{line}\n" for line in lines)
        return run(self._ssh(self.ssh.user, self.ssh.key), stdin=text, check=check, seconds=SSH_SECONDS)

    def root(self, *argv: str, stdin: str | None = None, check: bool = True, seconds: float = SSH_SECONDS) -> Done:
        """Run a command as root through the automation account's SSH and sudo."""
        command = shlex.join(["sudo", "-n", *argv])
        return run(
            [*self._ssh(self.builder.user, self.builder.key), command], stdin=stdin, check=check, seconds=seconds
        )

    def http(self) -> requests.Session:
        """A session that trusts the appliance's CA and nothing else, whatever the environment says."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.ca_file)
        return session

    def _ssh(self, user: str, key: Path) -> list[str]:
        return [
            "ssh", "-F", "none", "-T", "-i", str(key), "-p", str(self.ssh.port), "-o", "IdentitiesOnly=yes",
            "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={self.known_hosts}",
            # sshd closes its port for a moment whenever it reads its settings anew; ssh tries again after a second.
            "-o", "ConnectTimeout=10", "-o", "ConnectionAttempts=4", f"{user}@{self.address}",
        ]  # fmt: skip


def read(path: Path) -> Lab:
    """The lab that `path` (`build/appliance.json`) describes."""
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Lab(
        name=said["name"],
        address=said["address"],
        addresses=Addresses(**said["addresses"]),
        gateway_url=said["gateway_url"],
        portal_url=said["portal_url"],
        ssh=Ssh(said["ssh"]["user"], said["ssh"]["port"], Path(said["ssh"]["key"])),
        admin=Admin(said["admin"]["user"], Path(said["admin"]["password_file"])),
        builder=Builder(said["builder"]["user"], Path(said["builder"]["key"])),
        ca_file=Path(said["ca_file"]),
        uem_url=said["uem_url"],
        known_hosts=Path(said["known_hosts"]),
    )
