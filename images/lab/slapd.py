"""A real directory: OpenLDAP's own server (Debian's package slapd) in a folder of its own, by an account without rights.

It speaks LDAPS and StartTLS, takes passwords within TLS only, and locks whom its password policy says. It writes nothing outside
its folder, and ends with the block that runs it.
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

from images.lab import ldif

PROGRAM = "/usr/sbin/slapd"
START_SECONDS = 30.0  # on a machine that is busy with other work; alone it takes well under one
_ACCOUNT = "daemon"  # Debian has it everywhere, and it owns nothing
_CONFIGURATION = """\
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
ppolicy_default "cn={policy},{suffix}"
"""


class SlapdError(RuntimeError):
    """The directory does not run; the message says why."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a directory holds: its suffix, the entry below which its groups lie, the account that reads everything but passwords,
    and all entries (LDIF), of which `ldif.POLICY` is everybody's password policy."""

    suffix: str
    groups: str
    account: str
    entries: str


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """One that an account without rights may enter, gone with the block."""
    with tempfile.TemporaryDirectory(prefix="sentry-directory-") as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


@contextlib.contextmanager
def serving(
    place: Path, certificate: tuple[Path, Path], contents: Contents, *, host: str, ldaps: int, ldap: int = 0
) -> Iterator[Path]:
    """Run it in the folder `place` until the block ends, with a certificate and its key, on the ports `ldaps` and `ldap` (0: only
    LDAPS); gives the file of what it says. A folder that it has served before keeps its entries. Raises `SlapdError`."""
    if not Path(PROGRAM).exists():
        raise SlapdError("there is no slapd: `.ci/setup` installs it")
    account = pwd.getpwnam(_ACCOUNT) if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    _lay_out(place, certificate, contents, account)
    addresses = f"ldaps://{host}:{ldaps}/" + (f" ldap://{host}:{ldap}/" if ldap else "")
    settings, log = str(place / "slapd.conf"), place / "log"
    with log.open("w") as said:
        server = subprocess.Popen(
            [PROGRAM, "-f", settings, "-d", "stats", "-n", "directory", "-h", addresses],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            **_as(account),
        )
    try:
        _wait(host, ldaps, server, log)
        yield log
    finally:
        server.terminate()
        server.wait(START_SECONDS)


def _lay_out(place: Path, certificate: tuple[Path, Path], contents: Contents, account: pwd.struct_passwd) -> None:
    data, places = place / "data", (place / "server.pem", place / "server.key")
    settings, entries = place / "slapd.conf", place / "entries.ldif"
    fresh = not data.exists()
    data.mkdir(mode=0o700, exist_ok=True)
    for one in (places[1], entries):  # the key, and everybody's passwords
        one.touch(mode=0o600)
    for source, copy in zip(certificate, places, strict=True):
        shutil.copyfile(source, copy)
    settings.write_text(
        _CONFIGURATION.format(
            certificate=places[0],
            key=places[1],
            suffix=contents.suffix,
            policy=ldif.POLICY,
            folder=place,
            groups=contents.groups,
            account=contents.account,
        )
    )
    entries.write_text(contents.entries)
    if os.getuid() == 0:
        for one in (place, data, entries, *places):
            shutil.chown(one, account.pw_uid, account.pw_gid)
    if fresh:
        done = subprocess.run(
            [PROGRAM, "-T", "add", "-f", str(settings), "-l", str(entries)],
            capture_output=True,
            text=True,
            check=False,
            **_as(account),
        )
        if done.returncode != 0:
            raise SlapdError(f"slapadd takes not all entries: {done.stderr}")


def _as(account: pwd.struct_passwd) -> dict[str, Any]:
    """How a process is started as this account."""
    if os.getuid() != 0:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}


def _wait(host: str, port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until it answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SlapdError(f"slapd has ended: {log.read_text()}")
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            return
        time.sleep(0.02)
    raise SlapdError(f"no slapd after {START_SECONDS} s: {log.read_text()}")
