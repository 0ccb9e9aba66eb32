"""What a build was asked for, checked before anything is touched."""

import os
import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

from images.papers.sums import check_key
from images.paths import REPO
from images.targets import TARGETS, Target, chosen
from images.updates import signing
from images.updates.signing import Signer

TOOLS = ("mmdebstrap", "systemd-nspawn", "setpriv", "nsenter", "ip", "ssh", "ssh-keygen", "openssl", "tar")
# A tree, its root file system, a raw disk and the shipped files of each target; the disks are mostly holes.
NEEDED_GIB = 8
VERSION = re.compile(r"[0-9]+(\.[0-9]+){1,3}([-~][0-9a-z.]+)?")
MOST_VERSION = 32  # characters; it stands in file names and labels


class BuildError(RuntimeError):
    """The build cannot go on; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A build: its targets, version, signing key (None: a throw-away one), the results of this image's scan, if any, and who
    signs its update (None: a throw-away key)."""

    targets: tuple[Target, ...]
    version: str
    key: Path | None
    scan: Path | None
    signer: Signer | None = None


@dataclass(frozen=True, slots=True)
class UpdateKey:
    """Who signs the update, as it was asked for: a private key, the certificate of it, and the authorities that machines believe
    (None: the certificate itself)."""

    key: Path | None = None
    certificate: Path | None = None
    authorities: Path | None = None


def asked(
    target: str, version: str | None, key: Path | None, scan: Path | None, update: UpdateKey = UpdateKey()
) -> Asked:
    """The words of the command line as values; raises `BuildError` for one that is not allowed."""
    try:
        targets = chosen(target)
    except KeyError:
        raise BuildError(f"target {target}: allowed are {', '.join(TARGETS)} and all") from None
    wanted = version or project_version(REPO)
    if not VERSION.fullmatch(wanted) or len(wanted) > MOST_VERSION:
        raise BuildError(
            f"version {wanted}: must be numbers with dots, as 1.2.3, then perhaps a hyphen and letters, as 1.2.3-rc1; "
            f"at most {MOST_VERSION} characters"
        )
    if key is not None:
        check_key(key)
    if scan is not None and not scan.is_file():
        raise BuildError(f"{scan}: there is no such file; it is to be the results.json of a scan of this image")
    return Asked(targets, wanted, key, scan, _signer(update))


def _signer(update: UpdateKey) -> Signer | None:
    if update.key is not None:
        return signing.given(update.key, update.certificate, update.authorities)
    if update.certificate is not None or update.authorities is not None:
        raise BuildError(
            "an update's certificate and authorities are for its key: give that as update_key, or none of them"
        )
    return None


def project_version(repo: Path) -> str:
    """The version in pyproject.toml."""
    project = tomllib.loads((repo / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def check_machine(build: Path) -> None:
    """The machine must have the tools of `.ci/setup`, root's rights and room for a build."""
    if os.geteuid() != 0:
        raise BuildError("a build boots a guest and keeps owners of files: run it as root, or with sudo")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise BuildError(f"not installed here: {', '.join(missing)}; run `.ci/setup` as root")
    build.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(build).free / (1 << 30)
    if free < NEEDED_GIB:
        raise BuildError(
            f"{build}: {free:.1f} GiB are free, and a build needs {NEEDED_GIB}; `make clean` removes old builds"
        )
