"""Whether files are the ones that were signed: SHA256SUMS by its signature, and each file by its digest there."""

import hashlib
import re
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from images.papers.sums import NAME, THROW_AWAY
from images.run import CommandError, run

_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>[^/\s]+)")
MOST_BYTES = 1 << 20  # of SHA256SUMS: a dozen lines


class ProofError(RuntimeError):
    """Something is not what was signed, or nobody says by whom; the message names the file."""


@dataclass(frozen=True, slots=True)
class Proven:
    """The files of a folder by their signed digests (hexadecimal SHA-256)."""

    folder: Path
    digests: dict[str, str]

    def check(self, name: str, file: BufferedReader) -> str:
        """The file's digest, which is the signed one; `file` is at its beginning again. Raises `ProofError`."""
        signed = self.digests.get(name)
        if signed is None:
            raise ProofError(f"{self.folder / NAME}: has no line for {name}")
        found = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        if found != signed:
            raise ProofError(f"{self.folder / name}: found SHA-256 {found}; signed is {signed}")
        return found

    def read(self, name: str, most: int) -> bytes:
        """A small file, whole and checked. Raises `ProofError`."""
        with opened(self.folder / name) as file:
            self.check(name, file)
            data = file.read(most + 1)
        if len(data) > most:
            raise ProofError(f"{self.folder / name}: found more than {most} bytes")
        return data


def proven(folder: Path, public: Path | None, *, throw_away: bool = False) -> Proven:
    """What the folder's SHA256SUMS says, once its signature by the private half of `public` (PEM) is verified.

    A build without a key signs with a throw-away one, whose public half lies beside the files and shows nothing of who made them:
    that is believed with `throw_away` only. Raises `ProofError`.
    """
    if not folder.is_dir():
        raise ProofError(f"{folder}: there is no such folder; playbooks/build.yml makes it")
    if throw_away:
        key, signature = folder / f"{THROW_AWAY}.pem", folder / f"{THROW_AWAY}.sig"
    elif public is None:
        raise ProofError(f"{folder}: say with which public key (PEM) the signature of {NAME} is to be verified")
    else:
        key, signature = public, folder / f"{NAME}.sig"
        if not signature.exists() and (folder / f"{THROW_AWAY}.sig").exists():
            raise ProofError(f"{folder}: is signed by a throw-away key, not by the half of {public}")
    sums = folder / NAME
    with opened(sums) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ProofError(f"{sums}: found more than {MOST_BYTES} bytes")
    for path in (key, signature):
        opened(path).close()
    try:
        run(["openssl", "dgst", "-sha256", "-verify", key, "-signature", signature, sums])
    except CommandError as error:
        raise ProofError(f"{signature}: does not verify with {key}: {error.output.strip()}") from error
    if sums.read_bytes() != content:
        raise ProofError(f"{sums}: changes while it is read")
    return Proven(folder, _parsed(sums, content))


def opened(path: Path) -> BufferedReader:
    """The file, opened to be read. Raises `ProofError`."""
    try:
        return path.open("rb")
    except OSError as error:
        raise ProofError(f"{path}: cannot be read ({error.strerror})") from error


def _parsed(sums: Path, content: bytes) -> dict[str, str]:
    digests: dict[str, str] = {}
    for number, line in enumerate(content.decode("ascii", errors="replace").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None or match["name"] in digests:
            raise ProofError(f"{sums}: line {number} is no digest of a file of its own")
        digests[match["name"]] = match["digest"]
    return digests
