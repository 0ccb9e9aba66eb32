"""The machine to scan: how to reach it, and what it is called."""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from stig import devices
from stig.commands import Standpoint
from stig.devices import Devices
from stig.errors import FactError, InputError

SSH_PORT = 22
PORTAL_PORT = 8443
GATEWAY_PORT = 443
MANAGEMENT = "management"
DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Login:
    """An account and the file of its private key; None: whichever ssh finds, in the agent or in ~/.ssh."""

    user: str
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class SnmpUser:
    """An SNMPv3 user of the appliance: its protocols in Net-SNMP's words, and the files of its passphrases."""

    user: str
    auth: str
    auth_file: Path
    privacy: str
    privacy_file: Path


@dataclass(frozen=True, slots=True)
class Target:
    """`collector` may sudo and is used to look; None: facts come by the command line, too. `admin` is an administrator or an
    auditor, and gets the command line. `key_alias` is the name under which `known_hosts` has the host's key, where that is not
    the address.

    `zones` are the appliance's addresses as `zone name -> address`; `ca_file` holds the authority its portal is
    verified against, None the system's trust store. `snmp` is who asks it by SNMP, `devices` are those the gateway is tried with;
    without them nobody does.
    """

    name: str
    address: str
    collector: Login | None
    admin: Login
    known_hosts: Path
    zones: dict[str, str] = field(default_factory=dict)
    ca_file: Path | None = None
    ssh_port: int = SSH_PORT
    snmp: SnmpUser | None = None
    key_alias: str = ""
    devices: Devices | None = None

    @property
    def gateway(self) -> str:
        """The address devices find the gateway at."""
        return self.zones.get(DEVICE, self.address)

    @property
    def looks_as(self) -> str:
        """The account that looks."""
        return (self.collector or self.admin).user

    @property
    def standpoint(self) -> Standpoint:
        """As whom and from where the machine is looked at."""
        return Standpoint(admin=self.admin.user, client=self.client, address=self.address)

    @property
    def client(self) -> str:
        """The address this machine has towards the target: the source the target sees administrators come from."""
        return source_towards(self.address, self.ssh_port)


def source_towards(address: str, port: int) -> str:
    """The address this machine has towards another. `FactError` when there is no way."""
    # Connecting a datagram socket sends nothing; it makes the kernel choose the source address.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, port))
            return str(probe.getsockname()[0])
    except OSError as error:
        raise FactError(f"no route to {address}: {error.strerror}") from error


def by_command_line(
    url: str,
    *,
    key: Path | None,
    known_hosts: Path | None,
    ca_file: Path | None,
    gateway: str = "",
    tried: Devices | None = None,
    snmp: SnmpUser | None = None,
) -> Target:
    """The target of `ssh://auditor@host[:port]`, of whose account there is nothing but an SSH key. `InputError` for anything
    else, and for a name that has no address."""
    try:
        parts = urlsplit(url)
        port = parts.port or SSH_PORT
    except ValueError as error:
        raise InputError(f"found {url!r}: {error}; allowed: ssh://user@host or ssh://user@host:port") from error
    beyond = parts.path.strip("/") or parts.query or parts.fragment or parts.password
    if parts.scheme != "ssh" or not parts.username or not parts.hostname or beyond:
        raise InputError(f"found {url!r}; allowed: ssh://user@host or ssh://user@host:port")
    address = _address(parts.hostname)
    return Target(
        name=parts.hostname,
        address=address,
        collector=None,
        admin=Login(parts.username, key),
        known_hosts=known_hosts or Path.home() / ".ssh" / "known_hosts",
        zones=zones(address, _address(gateway) if gateway else ""),
        ca_file=ca_file,
        ssh_port=port,
        snmp=snmp,
        devices=tried,
        key_alias=_alias(parts.hostname, address, port),
    )


def zones(management: str, gateway: str = "") -> dict[str, str]:
    """The zones of which addresses are known: `gateway` is where devices come in, where that is elsewhere."""
    return {MANAGEMENT: management, **({DEVICE: gateway} if gateway else {})}


def _address(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise InputError(f"{host}: has no address here: {error.strerror}") from error


def _alias(host: str, address: str, port: int) -> str:
    """ssh(1) writes the port with the name into known_hosts where it is not the usual one."""
    if host == address:
        return ""
    return host if port == SSH_PORT else f"[{host}]:{port}"


class _Ssh(msgspec.Struct, frozen=True):
    user: str
    key: str
    port: int = SSH_PORT


class _Builder(msgspec.Struct, frozen=True):
    user: str
    key: str


class _Snmp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    user: str
    auth: str
    auth_file: str
    privacy: str
    privacy_file: str


class _Description(msgspec.Struct, frozen=True):
    name: str
    address: str
    ssh: _Ssh
    builder: _Builder
    addresses: dict[str, str] = {}
    ca_file: str | None = None
    known_hosts: str | None = None
    snmp: _Snmp | None = None
    devices: str | None = None
    answers: str | None = None


def described(path: Path, **overrides: Any) -> Target:
    """The target that an `appliance.json` describes; an override that is not None takes the place of what stands there.

    Without a `known_hosts` entry, the file of that name beside the description is taken.
    """
    read = _read(path)
    given = {key: value for key, value in overrides.items() if value is not None}
    collector = Login(given.get("user", read.builder.user), Path(given.get("key", read.builder.key)))
    admin = Login(given.get("admin_user", read.ssh.user), Path(given.get("admin_key", read.ssh.key)))
    ca_file = given.get("ca_file", read.ca_file)
    tried_with = given.get("devices", read.devices)
    return Target(
        name=read.name,
        address=given.get("host", read.address),
        collector=collector,
        admin=admin,
        known_hosts=Path(given.get("known_hosts", read.known_hosts or path.with_name("known_hosts"))),
        zones=read.addresses or {MANAGEMENT: read.address},
        ca_file=Path(ca_file) if ca_file else None,
        ssh_port=given.get("port", read.ssh.port),
        snmp=_snmp_user(read.snmp, path.parent) if read.snmp else None,
        devices=devices.load(Path(tried_with)) if tried_with else None,
    )


def answers(path: Path) -> Path | None:
    """The answer file that an `appliance.json` names. Raises as `described`."""
    named = _read(path).answers
    return Path(named) if named else None


def _read(path: Path) -> _Description:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Description)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; `make appliance` writes it") from error
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: {error}") from error


def snmp_user(path: Path) -> SnmpUser:
    """The user in a YAML file (docs/scanning.md); names of files are relative to it. `InputError` says what is wrong."""
    try:
        return _snmp_user(msgspec.yaml.decode(path.read_bytes(), type=_Snmp), path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: {error}") from error


def _snmp_user(read: _Snmp, folder: Path) -> SnmpUser:
    return SnmpUser(read.user, read.auth, folder / read.auth_file, read.privacy, folder / read.privacy_file)


def check(target: Target) -> Target:
    """The target itself, if the files it names are there; else an `InputError` that names the missing one."""
    logins = [one for one in (target.collector, target.admin) if one is not None]
    files = [one.key for one in logins if one.key is not None] + [target.known_hosts]
    files += [target.ca_file] if target.ca_file else []
    files += [target.snmp.auth_file, target.snmp.privacy_file] if target.snmp else []
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: there is no such file; the scan needs it to reach {target.name} safely")
    return target
