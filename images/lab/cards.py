"""The lab's smart cards: an authority with its revocation list, and certificates as a CAC has them, of which one is revoked."""

from pathlib import Path

from images.paths import write_file
from images.run import run

EDIPI = "1234567890"  # the lab administrator's, in sites/lab.yml
DAYS = 825  # the longest a server certificate may live for common clients
AUTHORITY, CARD, REVOKED = "card-ca", "admin-card", "revoked-card"
_UPN = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8"

# What openssl keeps of an authority: it needs a database to make a list.
_BOOKS = """\
[ca]
default_ca = here
[here]
database = {folder}/card-ca.index
certificate = {folder}/card-ca.pem
private_key = {folder}/card-ca.key
default_md = sha256
default_crl_days = {days}
"""
_EXTENSIONS = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectAltName = {upn}:{edipi}@mil
"""


def ensure(folder: Path) -> None:
    """Make what is missing in `folder`; what is there stays as it is."""
    authority, key, books = folder / f"{AUTHORITY}.pem", folder / f"{AUTHORITY}.key", folder / f"{AUTHORITY}.cnf"
    revoked = folder / f"{AUTHORITY}.crl.pem"
    if revoked.exists():  # made last
        return
    make_key(key)
    run(["openssl", "req", "-x509", "-new", "-key", key, "-sha256", "-days", str(DAYS), "-subj", "/CN=Lab card CA",
         "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
         "-out", authority])  # fmt: skip
    write_file(books, _BOOKS.format(folder=folder, days=DAYS))
    write_file(folder / f"{AUTHORITY}.index", "")
    for serial, name in enumerate((CARD, REVOKED), 1):
        _issue(folder, name, serial)
    run(["openssl", "ca", "-config", books, "-revoke", folder / f"{REVOKED}.pem"])
    run(["openssl", "ca", "-config", books, "-gencrl", "-out", revoked])


def make_key(path: Path) -> None:
    """A new private key (PEM), for its owner's eyes."""
    made = run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]).stdout
    write_file(path, made, 0o600)


def _issue(folder: Path, name: str, serial: int) -> None:
    key, request, extensions = folder / f"{name}.key", folder / f"{name}.csr", folder / f"{name}.ext"
    make_key(key)
    subject = f"/C=US/O=Lab/CN=ADMINISTRATOR.LAB.{EDIPI}"
    run(["openssl", "req", "-new", "-key", key, "-subj", subject, "-out", request])
    write_file(extensions, _EXTENSIONS.format(upn=_UPN, edipi=EDIPI))
    run(["openssl", "x509", "-req", "-in", request, "-CA", folder / f"{AUTHORITY}.pem", "-CAkey",
         folder / f"{AUTHORITY}.key", "-set_serial", str(serial), "-sha256", "-days", str(DAYS), "-extfile",
         extensions, "-out", folder / f"{name}.pem"])  # fmt: skip
