"""Authorities that issue, revoke and answer for devices' certificates: everything by the openssl command, in one folder."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

PATIENCE_SECONDS = 10.0
UPN = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:"

_AUTHORITY = """\
[ca]
default_ca = here
[here]
dir = {folder}/{name}
database = $dir/index.txt
serial = $dir/serial
crlnumber = $dir/crlnumber
new_certs_dir = $dir
certificate = {folder}/{name}.pem
private_key = {folder}/{name}.key
default_md = sha256
default_days = 2
default_crl_days = 2
policy = anything
unique_subject = no
copy_extensions = none
email_in_dn = yes
[anything]
countryName = optional
organizationName = optional
organizationalUnitName = optional
commonName = optional
emailAddress = optional
[req]
prompt = no
distinguished_name = subject
string_mask = utf8only
[subject]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
"""
DEVICE = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
"""
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


@dataclass(frozen=True)
class DevicePki:
    """NAME.pem and NAME.key for each certificate; a folder NAME with the books of each authority."""

    folder: Path

    def openssl(self, *arguments: str) -> None:
        """Run openssl there; its words are in the error when it fails."""
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def path(self, name: str) -> str:
        """Where NAME.pem lies."""
        return str(self.folder / f"{name}.pem")

    def pair(self, name: str) -> tuple[str, str]:
        """Certificate and key."""
        return self.path(name), str(self.folder / f"{name}.key")

    def der(self, name: str) -> bytes:
        """The certificate."""
        return x509.load_pem_x509_certificate((self.folder / f"{name}.pem").read_bytes()).public_bytes(Encoding.DER)

    def bundle(self, name: str, *members: str) -> str:
        """A file NAME.pem with the certificates of these."""
        path = self.folder / f"{name}.pem"
        path.write_bytes(b"".join((self.folder / f"{one}.pem").read_bytes() for one in members))
        return str(path)

    def authority(self, name: str, above: str = "") -> None:
        """A root, or an authority below another one."""
        (self.folder / name).mkdir()
        for file, text in (("index.txt", ""), ("serial", "1000\n"), ("crlnumber", "01\n")):
            (self.folder / name / file).write_text(text)
        (self.folder / f"{name}.cnf").write_text(_AUTHORITY.format(folder=self.folder, name=name))
        own = ["-config", f"{name}.cnf", *CURVE, "-keyout", f"{name}.key"]
        if not above:
            self.openssl("req", "-x509", *own, "-extensions", "authority", "-days", "3", "-out", f"{name}.pem")
            return
        self.openssl("req", *own, "-out", f"{name}.csr")
        self.openssl(
            *("ca", "-batch", "-config", f"{above}.cnf", "-in", f"{name}.csr", "-notext", "-out", f"{name}.pem"),
            *("-extfile", f"{name}.cnf", "-extensions", "authority"),
        )

    def issue(
        self,
        name: str,
        *,
        by: str,
        subject: str = "",
        names: str = "",
        usage: str = "clientAuth",
        extensions: str = DEVICE,
        dates: tuple[str, str] | None = None,
    ) -> None:
        """A certificate: `names` as openssl's subjectAltName, `subject` as its -subj, `dates` as YYMMDDHHMMSSZ."""
        text = extensions
        if names:
            text += f"subjectAltName = {names}\n"
        if usage:
            text += f"extendedKeyUsage = {usage}\n"
        (self.folder / f"{name}.ext").write_text(text)
        csr = ["-subj", subject or f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"]
        self.openssl("req", "-config", f"{by}.cnf", *CURVE, *csr)
        when = [] if dates is None else ["-startdate", dates[0], "-enddate", dates[1]]
        self.openssl(
            *("ca", "-batch", "-config", f"{by}.cnf", "-in", f"{name}.csr", "-notext", "-out", f"{name}.pem"),
            *("-extfile", f"{name}.ext", *when),
        )

    def revoke(self, name: str, *, by: str) -> None:
        """Put it on the authority's next list, and into its responder's answers."""
        self.openssl("ca", "-config", f"{by}.cnf", "-revoke", f"{name}.pem")

    def crl(self, by: str, *, dates: tuple[str, str] | None = None) -> bytes:
        """The authority's list as of now, or of these dates, in PEM; also left as BY.crl.pem."""
        when = [] if dates is None else ["-crl_lastupdate", dates[0], "-crl_nextupdate", dates[1]]
        self.openssl("ca", "-config", f"{by}.cnf", "-gencrl", *when, "-out", f"{by}.crl.pem")
        return (self.folder / f"{by}.crl.pem").read_bytes()

    @contextlib.contextmanager
    def responder(self, by: str, *options: str, signer: str = "", port: int = 0) -> Iterator["Responder"]:
        """OpenSSL's own OCSP responder for this authority, as a process."""
        if not port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
        certificate, key = self.pair(signer or by)
        command = ["openssl", "ocsp", "-index", f"{by}/index.txt", "-CA", f"{by}.pem", "-port", str(port)]
        command += ["-rsigner", certificate, "-rkey", key, "-ignore_err", *options]
        with (self.folder / f"{by}.ocsp.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        try:
            _await_port(port, process)
            yield Responder(process, port)
        finally:
            process.kill()
            process.wait()


@dataclass
class Responder:
    """A running responder."""

    process: "subprocess.Popen[bytes]"
    port: int

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}/"


def _await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Until it listens. It is not dialled: it serves one connection after the other, and would wait for a question on ours."""
    until = time.monotonic() + PATIENCE_SECONDS
    while port not in _listening():
        assert process.poll() is None, "the responder has ended"
        assert time.monotonic() < until, "the responder does not listen"
        time.sleep(0.02)


def _listening() -> set[int]:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}


def company(folder: Path) -> DevicePki:
    """A root with an authority for devices and one for servers below it, another root, and certificates of all kinds."""
    made = DevicePki(folder)
    made.authority("root")
    made.authority("devices", above="root")
    made.authority("servers", above="root")
    made.authority("other")
    made.issue("anna", by="devices", names=f"{UPN}Anna@Lab.Test,email:anna.b@lab.test", subject="/O=Lab/CN=anna")
    made.issue("bert", by="devices", names=f"{UPN}bert@lab.test", subject="/O=Lab/CN=bert")
    made.issue("plain", by="devices", subject="/C=DE/O=Lab/CN=Anna Berg")
    made.issue("two", by="devices", names="email:anna@lab.test,email:bert@lab.test")
    made.issue("same", by="devices", names="email:anna@lab.test,email:ANNA@lab.test")
    made.issue("server", by="servers", usage="serverAuth", names="DNS:www.lab.test")
    made.issue("misused", by="servers", names=f"{UPN}anna@lab.test")
    made.issue("stranger", by="other", names=f"{UPN}anna@lab.test")
    made.issue("nothing", by="devices", usage="", names=f"{UPN}anna@lab.test")
    made.issue("past", by="devices", names=f"{UPN}anna@lab.test", dates=("20200101000000Z", "20200102000000Z"))
    return made
