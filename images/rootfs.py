"""Root trees: a Debian suite and a list of packages become one tar file, kept by the digest of what went into it."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from images.console import say
from images.run import run, stream

DEBIAN_MIRROR = "http://deb.debian.org"
SOURCE_DATE = "1756684800"  # 2025-09-01: file times do not tell when a tree was built
RECIPE = 1  # raise it when this module makes another tree from the same inputs

# Whatever identifies one machine must not be in a tree that many machines are made from.
_FORGET = 'rm -f "$1"/etc/ssh/ssh_host_*; : >"$1"/etc/machine-id; rm -f "$1"/var/lib/dbus/machine-id'

KEEP = 6  # trees of one suite: two in use (two mail servers) and those of two other branches; each is half a gigabyte


class TreeError(RuntimeError):
    """The inputs of a root tree are not there or make no sense."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The inputs of a root tree. `hooks` are shell snippets for mmdebstrap that get the tree's path as `$1`."""

    suite: str
    packages: tuple[str, ...]
    hooks: tuple[str, ...] = field(default=(_FORGET,))
    recipe: int = RECIPE

    @property
    def digest(self) -> str:
        """Changes exactly when the inputs change; the mirror is none of them, as every mirror has the same packages."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def sources(self, mirror: str) -> tuple[str, ...]:
        """The lines of sources.list: the release, its updates and its security updates."""
        return (
            f"deb {mirror}/debian {self.suite} main",
            f"deb {mirror}/debian {self.suite}-updates main",
            f"deb {mirror}/debian-security {self.suite}-security main",
        )


def appliance_tree(variables: Path) -> Tree:
    """The appliance's tree: Debian 13 with the packages that the role `base` names, so that provisioning needs no network."""
    try:
        loaded = yaml.safe_load(variables.read_text(encoding="utf-8"))
        packages = loaded["base_packages"]
    except (OSError, KeyError, TypeError) as error:
        raise TreeError(f"{variables}: must hold the list `base_packages` ({error})") from error
    if not packages or not all(isinstance(name, str) for name in packages):
        raise TreeError(f"{variables}: `base_packages` must be a list of package names, found {packages!r}")
    return Tree("trixie", tuple(sorted(set(packages))))


def build(tree: Tree, folder: Path) -> Path:
    """The tar file of `tree` below `folder`, made with mmdebstrap when it is not there yet.

    An interrupted build leaves no file under the final name; who wants a tree that is being built waits for it, and other trees
    are built at the same time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{tree.suite}-{tree.digest}.tar"
    with alone(final.with_suffix(".lock")):
        if final.exists():
            say(f"    {final.name} is there ({final.stat().st_size // 1_000_000} MB)")
            return final
        work = final.with_suffix(".part")
        _make_room(folder, work)
        fresh = work / "tree.tar"
        say(f"    {tree.suite} with {len(tree.packages)} packages and what they need, from {_mirror()}")
        stream(_argv(tree, fresh), env={"SOURCE_DATE_EPOCH": SOURCE_DATE, "LC_ALL": "C.UTF-8", "TMPDIR": str(work)})
        fresh.replace(final)
        shutil.rmtree(work)
        _prune(tree.suite, folder)
    return final


def extract(tar: Path, root: Path) -> None:
    """Unpack a tree with owners, modes and capabilities as they are; `root` is made."""
    root.mkdir(parents=True, mode=0o755)
    run(["tar", "--extract", f"--file={tar}", f"--directory={root}", "--numeric-owner", "--same-permissions",
         "--xattrs", "--xattrs-include=*"])  # fmt: skip


def _make_room(folder: Path, work: Path) -> None:
    """An empty folder for our build, and none of a build that was killed; it had mounted in a namespace of its own."""
    for left in folder.glob("*.part"):
        if left == work or not _is_held(left.with_suffix(".lock")):
            shutil.rmtree(left)
    work.mkdir()


def _prune(suite: str, folder: Path) -> None:
    by_age = sorted(folder.glob(f"{suite}-*.tar"), key=lambda path: path.stat().st_mtime_ns)
    for old in by_age[:-KEEP]:
        old.unlink()


def _mirror() -> str:
    return os.environ.get("DEBIAN_MIRROR", DEBIAN_MIRROR).rstrip("/")


def _argv(tree: Tree, target: Path) -> list[str]:
    hooks = [f"--customize-hook={hook}" for hook in tree.hooks]
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--architectures=amd64",
        "--format=tar",
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=Acquire::Retries "5"',
        f"--include={','.join(tree.packages)}",
        *hooks,
        tree.suite,
        str(target),
        *tree.sources(_mirror()),
    ]


def _is_held(lock: Path) -> bool:
    """Whether somebody has this lock."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Have a lock to oneself; who wants it meanwhile waits."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
