"""The lab's devices: an authority with its revocation list, certificates as phones have them, and the file by which the scanner
tries the gateway with them (`stig.devices` knows its form)."""

from pathlib import Path

from images.lab.cards import DAYS, make_key
from images.lab.zones import MANAGEMENT
from images.paths import Layout, write_file
from images.run import run

AUTHORITY, STRANGERS = "device-ca", "stranger-ca"
IDENTITY, REVOKED, UNMAPPED, STRANGER = "phone", "phone-revoked", "phone-unmapped", "phone-stranger"
USER = "stig@lab.test"
REGISTERED, COMPROMISED, UNREGISTERED = "STIGREGISTERED", "STIGCOMPROMISED", "STIGUNREGISTERED"
FILE = "probe-devices.yml"
ADMIN = "admin"  # the site's administrator
_UPN = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8"

# What openssl keeps of an authority: it needs a database to make a list.
_BOOKS = """\
[ca]
default_ca = here
[here]
database = {folder}/{name}.index
certificate = {folder}/{name}.pem
private_key = {folder}/{name}.key
default_md = sha256
default_crl_days = {days}
"""
_EXTENSIONS = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
"""
_LISTED = f"""\
---
# Made by the lab for `stig scan --devices`: one device that is as it should be, and others that lack one thing each.
user: {USER}
identity: {{certificate: {IDENTITY}.pem, key: {IDENTITY}.key}}
registered: {{device_id: {REGISTERED}}}
compromised: {{device_id: {COMPROMISED}}}
unregistered: {{device_id: {UNREGISTERED}}}
revoked: {{certificate: {REVOKED}.pem, key: {REVOKED}.key}}
unmapped: {{certificate: {UNMAPPED}.pem, key: {UNMAPPED}.key}}
stranger: {{certificate: {STRANGER}.pem, key: {STRANGER}.key}}
"""


def ensure(folder: Path) -> None:
    """Make what is missing in `folder`; what is there stays as it is."""
    crl = folder / f"{AUTHORITY}.crl.pem"
    if crl.exists():  # made last
        return
    for name in (AUTHORITY, STRANGERS):
        _authority(folder, name)
    named = f"subjectAltName = {_UPN}:{USER}\n"
    for serial, (name, names) in enumerate(((IDENTITY, named), (REVOKED, named), (UNMAPPED, "")), 1):
        _issue(folder, name, AUTHORITY, serial, names)
    _issue(folder, STRANGER, STRANGERS, 1, named)
    books = folder / f"{AUTHORITY}.cnf"
    run(["openssl", "ca", "-config", books, "-revoke", folder / f"{REVOKED}.pem"])
    write_file(folder / FILE, _LISTED)
    run(["openssl", "ca", "-config", books, "-gencrl", "-out", crl])


def register(layout: Layout, *, compromised: bool = True) -> None:
    """Have the UEM in the box know the devices as the file says of them, by the appliance's command line. What it knows already
    is told it again. `compromised`: whether that one is found to be."""
    finding = "flag" if compromised else "clear"
    lines = [
        "enable",
        (layout.secrets / "enable.secret").read_text(encoding="utf-8").strip(),
        *(f"device register {device} {USER}" for device in (REGISTERED, COMPROMISED)),
        f"device {finding} compromised {COMPROMISED} {USER}",
    ]
    run(
        ["ssh", "-F", "none", "-T", "-i", layout.secrets / ADMIN, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
         "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={layout.known_hosts}",
         f"{ADMIN}@{MANAGEMENT.address}"],
        stdin="".join(f"{line}\n" for line in lines),
    )  # fmt: skip


def _authority(folder: Path, name: str) -> None:
    key = folder / f"{name}.key"
    make_key(key)
    run(["openssl", "req", "-x509", "-new", "-key", key, "-sha256", "-days", str(DAYS), "-subj", f"/CN=Lab {name}",
         "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
         "-out", folder / f"{name}.pem"])  # fmt: skip
    write_file(folder / f"{name}.cnf", _BOOKS.format(folder=folder, name=name, days=DAYS))
    write_file(folder / f"{name}.index", "")


def _issue(folder: Path, name: str, authority: str, serial: int, names: str) -> None:
    key, request, extensions = folder / f"{name}.key", folder / f"{name}.csr", folder / f"{name}.ext"
    make_key(key)
    run(["openssl", "req", "-new", "-key", key, "-subj", f"/O=Lab/CN={name}", "-out", request])
    write_file(extensions, _EXTENSIONS + names)
    run(["openssl", "x509", "-req", "-in", request, "-CA", folder / f"{authority}.pem", "-CAkey",
         folder / f"{authority}.key", "-set_serial", str(serial), "-sha256", "-days", str(DAYS), "-extfile",
         extensions, "-out", folder / f"{name}.pem"])  # fmt: skip
