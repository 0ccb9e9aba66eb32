"""A real directory: OpenLDAP's own server (Debian's package slapd) in a folder of its own, by an account without rights.

It speaks LDAPS and StartTLS, takes passwords within TLS only, locks whom its policy says, and is gone with the tests.
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
from typing import Any

from tests.ports import free_port

SLAPD = "/usr/sbin/slapd"
START_SECONDS = 30.0
SUFFIX = "dc=lab,dc=test"
PEOPLE, GROUPS = f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"
ACCOUNT, ACCOUNT_SECRET = f"cn=sentry,ou=services,{SUFFIX}", "account of the appliance"
LOCKED_ACCOUNT = f"cn=locked,ou=services,{SUFFIX}"
SECRET = "Directory-Secret-1"
ADMINISTRATORS, OPERATORS, AUDITORS = (f"cn={name},{GROUPS}" for name in ("administrators", "operators", "auditors"))

CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
TLSVerifyClient never
security simple_bind=128
database mdb
suffix "{suffix}"
rootdn "cn=root,{suffix}"
maxsize 16777216
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="{groups}" by users read by * none
access to * by dn.exact="{account}" read by self read by * none
overlay ppolicy
ppolicy_default "cn=policy,{suffix}"
"""
_LOCKED = (
    "pwdAccountLockedTime: 000001010000Z\n"  # for ever: only a person unlocks it (draft-behera-ldap-password-policy)
)
_RESET = "pwdReset: TRUE\n"  # to be changed first, by the default policy's pwdMustChange
_OLD = "pwdChangedTime: 20200101000000Z\n"


def _person(name: str, *, place: str = PEOPLE, more: str = "", secret: str = SECRET) -> str:
    called = f"cn: {name}\nsn: {name}\nuid: {name}"
    return f"dn: cn={name},{place}\nobjectClass: inetOrgPerson\n{called}\nuserPassword: {secret}\n{more}\n"


def _named(name: str, more: str = "") -> str:
    """An entry that is called by its uid, as those are who bind as themselves."""
    called = f"cn: {name}\nsn: {name}\nuid: {name}"
    return f"dn: uid={name},{PEOPLE}\nobjectClass: inetOrgPerson\n{called}\nuserPassword: {SECRET}\n{more}\n"


def _group(dn: str, *members: str) -> str:
    lines = "".join(f"member: {one}\n" for one in members)
    return f"dn: {dn}\nobjectClass: groupOfNames\ncn: {dn.partition(',')[0][3:]}\n{lines}\n"


def _policy(name: str, rules: str) -> str:
    kind = "objectClass: device\nobjectClass: pwdPolicy"
    return f"dn: {_policy_dn(name)}\n{kind}\ncn: {name}\npwdAttribute: userPassword\n{rules}\n"


def _policy_dn(name: str) -> str:
    return f"cn={name},{SUFFIX}"


def _unit(name: str, above: str = SUFFIX) -> str:
    return f"dn: ou={name},{above}\nobjectClass: organizationalUnit\nou: {name}\n\n"


def person(name: str) -> str:
    """The entry of somebody."""
    return f"cn={name},{PEOPLE}"


ENTRIES = "".join(
    (
        f"dn: {SUFFIX}\nobjectClass: domain\ndc: lab\n\n",
        _policy("policy", "pwdLockout: TRUE\npwdMaxFailure: 100\npwdMustChange: TRUE\n"),
        _policy("grace", "pwdMaxAge: 60\npwdGraceAuthNLimit: 1000\n"),
        _policy("soon", "pwdMaxAge: 1500000000\npwdExpireWarning: 1499999999\n"),
        *(_unit(name) for name in ("people", "groups", "services")),
        _unit("elsewhere", PEOPLE),
        _person("sentry", place=f"ou=services,{SUFFIX}", secret=ACCOUNT_SECRET),
        _person("locked", place=f"ou=services,{SUFFIX}", secret=ACCOUNT_SECRET, more=_LOCKED),
        *(_person(name) for name in ("dora", "oscar", "vera", "both", "twin", "alice")),
        _person("twin", place=f"ou=elsewhere,{PEOPLE}"),
        _person("lola", more=_LOCKED),
        _person("rita", more=_RESET),
        _person("greta", more=f"{_OLD}pwdPolicySubentry: {_policy_dn('grace')}\n"),
        _person("wanda", more=f"{_OLD}pwdPolicySubentry: {_policy_dn('soon')}\n"),
        _named("uma"),
        _named("ursula", _RESET),
        _group(
            ADMINISTRATORS,
            *map(person, ("dora", "both", "lola", "twin", "alice", "rita", "greta", "wanda")),
            *(f"uid={name},{PEOPLE}" for name in ("uma", "ursula")),
        ),
        _group(OPERATORS, person("oscar")),
        _group(AUDITORS, person("both")),
    )
)
"""dora, alice and uma administer, oscar operates, both is in two groups, vera in none, lola is locked, twin is there twice.
The passwords of rita and ursula are to be changed first, greta's has expired and is taken a few times more, wanda's will."""


@dataclass(frozen=True)
class DirectoryServer:
    """A running server: where it speaks LDAPS and where LDAP, and whose certificate it has."""

    host: str
    ldaps: int
    ldap: int
    trust: str
    log: Path

    def asked(self) -> str:
        """What the server says it was asked."""
        return self.log.read_text()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """One that an account without rights may enter: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="sentry-directory-") as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


@contextlib.contextmanager
def serving(
    folder: Path,
    certificate: tuple[str, str],
    trust: str,
    *,
    host: str = "127.0.0.1",
    ldaps: int | None = None,
    ldap: int | None = None,
) -> Iterator[DirectoryServer]:
    """Run it until the block ends, with a certificate and its key. A folder that it has served before keeps its entries."""
    assert Path(SLAPD).exists(), "no slapd: `.ci/setup tests` installs it"
    account = pwd.getpwnam("daemon") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    made = DirectoryServer(host, ldaps or free_port(), ldap or free_port(), trust, folder / "log")
    _lay_out(folder, certificate, account)
    with made.log.open("w") as said:
        server = subprocess.Popen(
            [
                SLAPD,
                *("-f", str(folder / "slapd.conf"), "-d", "stats", "-n", "directory"),
                *("-h", f"ldaps://{host}:{made.ldaps}/ ldap://{host}:{made.ldap}/"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            **_as(account),
        )
    try:
        _wait(made, server)
        yield made
    finally:
        server.terminate()
        server.wait(START_SECONDS)


def _lay_out(folder: Path, certificate: tuple[str, str], account: pwd.struct_passwd) -> None:
    data, places = folder / "data", (folder / "server.pem", folder / "server.key")
    fresh = not data.exists()
    data.mkdir(mode=0o700, exist_ok=True)
    for source, place in zip(certificate, places, strict=True):
        shutil.copyfile(source, place)
    (folder / "slapd.conf").write_text(
        CONFIGURATION.format(
            certificate=places[0], key=places[1], suffix=SUFFIX, folder=folder, groups=GROUPS, account=ACCOUNT
        )
    )
    (folder / "entries.ldif").write_text(ENTRIES)
    if os.getuid() == 0:
        for one in (folder, data, *places):
            shutil.chown(one, account.pw_uid, account.pw_gid)
    if fresh:
        done = subprocess.run(
            [SLAPD, "-T", "add", "-f", str(folder / "slapd.conf"), "-l", str(folder / "entries.ldif")],
            capture_output=True,
            text=True,
            check=False,
            **_as(account),
        )
        assert done.returncode == 0, done.stderr


def _as(account: pwd.struct_passwd) -> dict[str, Any]:
    """How a process is started as this account."""
    if os.getuid() != 0:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}


def _wait(made: DirectoryServer, server: "subprocess.Popen[bytes]") -> None:
    """Until it answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, made.asked()
        with contextlib.suppress(OSError), socket.create_connection((made.host, made.ldaps), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"no slapd after {START_SECONDS} s: {made.asked()}")
