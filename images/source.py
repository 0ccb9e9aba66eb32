"""The release archive: our own code and the one wheel that Debian does not have, as a tar file that is the same everywhere.

`python -m images.source --output build/releases` prints `{"digest": ..., "archive": ..., "built": ...}`. The archive holds
one folder, named by the digest of its content: `appliance/`, `sentry_runtime/`, `vendor/`, and last `RELEASE`, so that a
folder with that file is known to be complete.
"""

import argparse
import gzip
import hashlib
import io
import json
import re
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from images.paths import REPO
from images.run import CommandError, run

ROOMS = ("appliance", "sentry_runtime")
VENDORED = "httptools"
WHEEL_TARGET = (
    "--implementation=cp",
    "--python-version=3.13",  # Debian 13's
    "--abi=cp313",
    "--platform=manylinux_2_17_x86_64",
    "--platform=manylinux2014_x86_64",
)
FETCH_SECONDS = 300  # 500 KB over a poor link
DIGEST_DIGITS = 16  # 64 bits of SHA-256 name a release; the whole digest stands in its RELEASE file
OWN_CRYPTOGRAPHY = re.compile(r"(^|/)lib(ssl|crypto)[^/]*\.so|(^|/)lib(sodium|mbedtls|gnutls|boringssl)", re.IGNORECASE)


class SourceError(RuntimeError):
    """The release cannot be made; the message says what is wrong with which input."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release archive: the digest of its content, where it lies, and whether it was made just now."""

    digest: str
    archive: Path
    built: bool


def room_files(repo: Path) -> dict[str, bytes]:
    """Path in the release -> content, of everything in our rooms but what Python and editors leave behind."""
    files: dict[str, bytes] = {}
    for room in ROOMS:
        for path in sorted((repo / room).rglob("*")):
            parts = path.relative_to(repo).parts
            left_behind = any(
                part == "__pycache__" or part.startswith(".") or part.endswith(("~", ".pyc")) for part in parts
            )
            if path.is_file() and not left_behind:
                files["/".join(parts)] = path.read_bytes()
    if not files:
        raise SourceError(f"{repo}: none of {', '.join(ROOMS)} is there")
    return files


def locked(requirements: str, name: str) -> str:
    """The lines of one package, with its hashes, out of a hash-locked requirements file."""
    match = re.search(rf"^{re.escape(name)}==(?:.*\\\n)*.*\n", requirements, re.MULTILINE)
    if match is None or "--hash=sha256:" not in match[0]:
        raise SourceError(f"requirements.txt: found no {name} with hashes; `make lock` writes it")
    return match[0]


def fetch_wheel(repo: Path, folder: Path) -> Path:
    """The appliance's wheel of the vendored package, from `folder` or, with its hash checked by pip, from the index."""
    lines = locked((repo / "requirements.txt").read_text(encoding="utf-8"), VENDORED)
    version = lines.split("==")[1].split()[0]
    pattern = f"{VENDORED}-{version}-cp313-*.whl"
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
        raise SourceError(
            f"{folder}: holds no {pattern} with a hash of requirements.txt, not even after pip fetched it"
        )
    return fetched


def _genuine(folder: Path, pattern: str, lines: str) -> Path | None:
    """The wheel in `folder` whose hash is one of those in `lines`."""
    hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", lines))
    wheels = (wheel for wheel in folder.glob(pattern) if hashlib.sha256(wheel.read_bytes()).hexdigest() in hashes)
    return next(wheels, None)


def wheel_files(wheel: Path) -> dict[str, bytes]:
    """Path in the release -> content, of an unpacked wheel; refuses one that brings its own cryptography or leaves its folder."""
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise SourceError(f"{wheel.name}: holds {name}, which would land outside its folder")
            if OWN_CRYPTOGRAPHY.search(name):
                raise SourceError(f"{wheel.name}: holds {name}; cryptography comes from Debian packages only")
            if not name.endswith("/"):
                files[f"vendor/{name}"] = archive.read(name)
    return files


def content_digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 over names and contents, whatever order they come in."""
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name}\0{len(files[name])}\0".encode())
        total.update(files[name])
    return total.hexdigest()


def pack(files: Mapping[str, bytes], folder: str, release: str) -> bytes:
    """A gzipped tar of `files` below `folder`, RELEASE last; the same bytes for the same input."""
    raw = io.BytesIO()
    # mtime=0 and no file name: gzip would write both into its head.
    with (
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name in _folders(files):
            _add(tar, f"{folder}/{name}".rstrip("/"), None)
        for name in sorted(files):
            _add(tar, f"{folder}/{name}", files[name])
        _add(tar, f"{folder}/RELEASE", release.encode())
    return raw.getvalue()


def _folders(files: Mapping[str, bytes]) -> Iterator[str]:
    """Every folder, parents first. Each with Python files gets its `__pycache__`, so that compiling on the appliance
    makes no folder and cannot make one that only root may enter."""
    folders = {""}
    for name in files:
        parents = list(PurePosixPath(name).parents)
        folders.update("" if str(parent) == "." else str(parent) for parent in parents)
        if name.endswith(".py"):
            folders.add(f"{parents[0]}/__pycache__")
    return iter(sorted(folders))


def _add(tar: tarfile.TarFile, name: str, content: bytes | None) -> None:
    member = tarfile.TarInfo(name)
    member.uname = member.gname = "root"
    if content is None:
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(member)
        return
    member.mode, member.size = 0o644, len(content)
    tar.addfile(member, io.BytesIO(content))


def build(repo: Path, output: Path, wheels: Path) -> Release:
    """The release of what `repo` holds now, made unless `output` has it already."""
    files = {**room_files(repo), **wheel_files(fetch_wheel(repo, wheels))}
    whole = content_digest(files)
    digest = whole[:DIGEST_DIGITS]
    archive = output / f"sentry-{digest}.tar.gz"
    if archive.exists():
        return Release(digest, archive, built=False)
    output.mkdir(parents=True, exist_ok=True)
    fresh = archive.with_suffix(".new")
    fresh.write_bytes(pack(files, digest, json.dumps({"digest": whole, "files": len(files)}) + "\n"))
    fresh.replace(archive)
    return Release(digest, archive, built=True)


def main(arguments: list[str] | None = None) -> int:
    """Print the release as one line of JSON; exit code 1 with the reason on stderr when it cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m images.source", description="Make the release archive.")
    parser.add_argument("--output", type=Path, default=REPO / "build/releases", help="folder of release archives")
    parser.add_argument(
        "--wheels", type=Path, default=REPO / "build/wheels", help="folder that keeps the fetched wheel"
    )
    given = parser.parse_args(arguments)
    try:
        release = build(REPO, given.output, given.wheels)
    except (SourceError, CommandError, OSError, zipfile.BadZipFile) as error:
        sys.stderr.write(f"release: {error}\n")
        return 1
    answer = {"digest": release.digest, "archive": str(release.archive.resolve()), "built": release.built}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
