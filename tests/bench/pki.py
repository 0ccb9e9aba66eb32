"""The certificate that all proxies show, once for each kind of key, and the authority behind it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Key = Literal["rsa2048", "p256"]
KEYS: tuple[Key, ...] = ("rsa2048", "p256")
HOST = "mail.lab.test"
BACKEND = "backend.lab.test"
CIPHERS: dict[Key, str] = {"rsa2048": "ECDHE-RSA-AES256-GCM-SHA384", "p256": "ECDHE-ECDSA-AES256-GCM-SHA384"}
"""What every connection ends up with: TLS 1.2 and the first choice of the appliance's policy."""
_OPTIONS: dict[Key, tuple[str, ...]] = {
    "rsa2048": ("-newkey", "rsa:2048"),
    "p256": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key; `both` is the two in one file, as HAProxy wants them."""

    certificate: Path
    key: Path
    both: Path


@dataclass(frozen=True, slots=True)
class Pki:
    """An authority below `folder`."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def make_authority(self) -> None:
        """Make the authority, with a key of its own."""
        self._openssl(
            *("req", "-x509", *_OPTIONS["p256"], "-nodes", "-days", "2", "-subj", "/CN=Bench"),
            *("-keyout", "ca.key", "-out", "ca.pem"),
        )

    def issue(self, kind: Key, host: str) -> Pair:
        """A certificate of one link for this name."""
        name = f"{kind}-{host}"
        (self.folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}\nbasicConstraints=CA:FALSE\n")
        subject = ("-nodes", "-subj", f"/CN={host}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self._openssl("req", *_OPTIONS[kind], *subject)
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2"),
            *("-CAcreateserial", "-extfile", f"{name}.ext", "-out", f"{name}.pem"),
        )
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key", self.folder / f"{name}.both")
        pair.both.write_text(pair.certificate.read_text() + pair.key.read_text())
        return pair

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)
