"""The release archive: our own code, its hot modules compiled too, and the one wheel that Debian does not have, as a tar file
that is the same everywhere.

`python -m images.source --output build/releases` prints `{"digest": ..., "archive": ..., "built": ...}`. The archive holds
one folder, named by the digest of its content: `appliance/`, `stig/`, `sentry_runtime/` with a `.so` beside each source that is
compiled (Python takes that first), the library those share, `vendor/`, and last `RELEASE`, so that a folder with that file is
known to be complete.
"""

import argparse
import gzip
import hashlib
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from images.native.build import compiled
from images.native.modules import NativeError
from images.paths import REPO, Layout
from images.rootfs import TreeError
from images.run import CommandError
from images.wheels import WheelError, fetch_wheel, wheel_files

ROOMS = ("appliance", "sentry_runtime", "stig")
VENDORED = "httptools"
DIGEST_DIGITS = 16  # 64 bits of SHA-256 name a release; the whole digest stands in its RELEASE file


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


def release_files(repo: Path, wheels: Path, modules: Mapping[str, bytes]) -> dict[str, bytes]:
    """Path in the release -> content, of what `repo` holds now, with these compiled `modules`."""
    vendored = wheel_files(fetch_wheel(repo, wheels, VENDORED))
    return {**room_files(repo), **modules, **{f"vendor/{name}": content for name, content in vendored.items()}}


def build(repo: Path, output: Path, wheels: Path, modules: Mapping[str, bytes]) -> Release:
    """The release of these, made unless `output` has it already."""
    files = release_files(repo, wheels, modules)
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
    given = parser.parse_args(arguments)
    layout = Layout()
    try:
        with redirect_stdout(sys.stderr):  # what is said of the progress; the answer is one line
            modules = compiled(REPO, layout)
        release = build(REPO, given.output, layout.wheels, modules)
    except (SourceError, WheelError, NativeError, TreeError, CommandError, OSError, zipfile.BadZipFile) as error:
        sys.stderr.write(f"release: {error}\n")
        return 1
    answer = {"digest": release.digest, "archive": str(release.archive.resolve()), "built": release.built}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
