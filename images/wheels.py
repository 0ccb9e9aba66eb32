"""Wheels for the appliance's Python: fetched as `requirements.txt` has them locked, their hashes checked, unpacked in memory."""

import hashlib
import re
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from images.run import run

WHEEL_TARGET = (
    "--implementation=cp",
    "--python-version=3.13",  # Debian 13's
    "--abi=cp313",
    "--abi=abi3",
    "--platform=manylinux_2_17_x86_64",
    "--platform=manylinux2014_x86_64",
)
FETCH_SECONDS = 300  # 15 MB over a poor link
OWN_CRYPTOGRAPHY = re.compile(r"(^|/)lib(ssl|crypto)[^/]*\.so|(^|/)lib(sodium|mbedtls|gnutls|boringssl)", re.IGNORECASE)

_FITS = re.compile(r"-(cp313-cp313|cp3\d+-abi3|(py2\.)?py3-none)-")  # a wheel's tags, in its file name


class WheelError(RuntimeError):
    """A wheel is not locked, not to be had, or not one to unpack; the message says which and why."""


def locked(requirements: str, name: str) -> str:
    """The lines of one package, with its hashes, out of a hash-locked requirements file."""
    match = re.search(rf"^{re.escape(name)}==(?:.*\\\n)*.*\n", requirements, re.MULTILINE)
    if match is None or "--hash=sha256:" not in match[0]:
        raise WheelError(f"requirements.txt: found no {name} with hashes; `make lock` writes it")
    return match[0]


def fetch_wheel(repo: Path, folder: Path, name: str) -> Path:
    """The appliance's wheel of this package, from `folder` or, with its hash checked by pip, from the index."""
    lines = locked((repo / "requirements.txt").read_text(encoding="utf-8"), name)
    version = lines.split("==")[1].split()[0]
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    kept = _genuine(folder, pattern, lines)
    if kept is not None:
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as wanted:
        wanted.write(lines)
        wanted.flush()
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        checks = ["--require-hashes", "--only-binary=:all:", *WHEEL_TARGET]
        run([*pip, *checks, f"--requirement={wanted.name}", f"--dest={folder}"], seconds=FETCH_SECONDS)
    fetched = _genuine(folder, pattern, lines)
    if fetched is None:
        raise WheelError(f"{folder}: holds no {pattern} with a hash of requirements.txt, not even after pip fetched it")
    return fetched


def _genuine(folder: Path, pattern: str, lines: str) -> Path | None:
    """The wheel in `folder` for the appliance's Python whose hash is one of those in `lines`."""
    hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", lines))
    fitting = (wheel for wheel in folder.glob(pattern) if _FITS.search(wheel.name))
    return next((wheel for wheel in fitting if hashlib.sha256(wheel.read_bytes()).hexdigest() in hashes), None)


def wheel_files(wheel: Path) -> dict[str, bytes]:
    """Path -> content, of an unpacked wheel; refuses one that brings its own cryptography or leaves its folder."""
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise WheelError(f"{wheel.name}: holds {name}, which would land outside its folder")
            if OWN_CRYPTOGRAPHY.search(name):
                raise WheelError(f"{wheel.name}: holds {name}; cryptography comes from Debian packages only")
            if not name.endswith("/"):
                files[name] = archive.read(name)
    return files
