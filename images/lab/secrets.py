"""The lab's keys and passwords: made once, below `build/secrets` and `build/lab`, readable by their owner alone."""

import secrets
from pathlib import Path

from images.lab import cards, devices, people
from images.lab.zones import DIRECTORY_SERVER, GATEWAY, LOG_SERVER, MAIL_SERVER, ZONES
from images.paths import Layout, write_file
from images.run import run

PASSWORD_LENGTH = 24  # the STIGs ask for 15
ROUNDS = 100_000  # of SHA-512 over a password, as the STIGs ask for
APPROVED = "approved-cas.pem"

# Each quartet of a password has one of each class, so that no class repeats long enough to break a password policy.
# No letter or digit that looks like another, no character that a shell, YAML or the CLI reads as its own.
_CLASSES = ("ABCDEFGHJKLMNPQRSTUVWXYZ", "abcdefghijkmnopqrstuvwxyz", "23456789", "-_.+=@%")


def ensure_all(layout: Layout) -> None:
    """Make what is missing; what is there stays as it is."""
    for folder in (layout.secrets, layout.lab):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    layout.secrets.chmod(0o700)
    layout.lab.chmod(0o755)  # its certificates are public, its keys have modes of their own
    for account in ("admin", "builder"):
        _ensure_key_pair(layout.secrets / account)
    _ensure_password(layout.secrets / "admin.password", layout.secrets / "admin.hash")
    _ensure_password(layout.secrets / "enable.secret", layout.secrets / "enable.hash")
    for name in ("snmp.auth", "snmp.privacy", people.ACCOUNT_FILE, people.PERSON_FILE):
        _ensure_passphrase(layout.secrets / name)
    _ensure_authority(layout.lab)
    _ensure_certificate(layout.lab, "mail", MAIL_SERVER)
    _ensure_certificate(layout.lab, "siem", LOG_SERVER)
    _ensure_certificate(layout.lab, "directory", DIRECTORY_SERVER)
    # as an authority of the site would issue it
    _ensure_certificate(layout.lab, "gateway", GATEWAY, *(zone.address for zone in ZONES))
    cards.ensure(layout.lab)
    devices.ensure(layout.lab)
    _ensure_chains(layout.lab)


def password() -> str:
    """A random password of all four classes, about 105 bits."""
    random = secrets.SystemRandom()
    quartets = (random.sample(_CLASSES, len(_CLASSES)) for _ in range(PASSWORD_LENGTH // len(_CLASSES)))
    return "".join(random.choice(alphabet) for quartet in quartets for alphabet in quartet)


def _ensure_key_pair(path: Path) -> None:
    if path.exists() and path.with_suffix(".pub").exists():
        return
    path.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "256", "-N", "", "-C", f"{path.name}@lab", "-f", path])
    path.chmod(0o600)


def _ensure_passphrase(place: Path) -> None:
    if not place.exists():
        write_file(place, password() + "\n", 0o600)


def _ensure_password(clear: Path, hashed: Path) -> None:
    if not clear.exists():
        write_file(clear, password() + "\n", 0o600)
        hashed.unlink(missing_ok=True)
    if not hashed.exists() or f"rounds={ROUNDS}$" not in hashed.read_text(encoding="utf-8"):
        salt = f"rounds={ROUNDS}${secrets.token_hex(8)}"
        digest = run(
            ["openssl", "passwd", "-6", "-salt", salt, "-stdin"], stdin=clear.read_text(encoding="utf-8")
        ).stdout
        write_file(hashed, digest, 0o600)


def _ensure_authority(folder: Path) -> None:
    certificate, key = folder / "backend-ca.pem", folder / "backend-ca.key"
    if certificate.exists() and key.exists():
        return
    cards.make_key(key)
    run(["openssl", "req", "-x509", "-new", "-key", key, "-sha256", "-days", str(cards.DAYS), "-subj", "/CN=Lab backend CA",
         "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
         "-out", certificate])  # fmt: skip
    for name in ("mail.pem", "mail.key"):
        (folder / name).unlink(missing_ok=True)


def _ensure_chains(folder: Path) -> None:
    """What sites/stig-answers.yml names as approved, the authorities of servers and of devices; and the gateway's certificate
    with what is above it."""
    _join(folder, APPROVED, "backend-ca.pem", f"{devices.AUTHORITY}.pem")
    _join(folder, "gateway-chain.pem", "gateway.pem", "backend-ca.pem")


def _join(folder: Path, name: str, *parts: str) -> None:
    write_file(folder / name, "".join((folder / part).read_text(encoding="utf-8") for part in parts))


def _ensure_certificate(folder: Path, name: str, host: str, *addresses: str) -> None:
    certificate, key, request = folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}.csr"
    if certificate.exists() and key.exists():
        return
    cards.make_key(key)
    run(["openssl", "req", "-new", "-key", key, "-subj", f"/CN={host}", "-out", request])
    extensions = (
        f"subjectAltName={','.join([f'DNS:{host}', *(f'IP:{one}' for one in addresses)])}\nbasicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n"  # Python 3.13 takes none without (RFC 5280 4.2.1.1)
    )
    write_file(folder / f"{name}.ext", extensions)
    run(["openssl", "x509", "-req", "-in", request, "-CA", folder / "backend-ca.pem", "-CAkey",
         folder / "backend-ca.key", "-CAcreateserial", "-sha256", "-days", str(cards.DAYS), "-extfile",
         folder / f"{name}.ext", "-out", certificate])  # fmt: skip
