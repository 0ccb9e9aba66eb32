"""Where the programs come from that make disks: a Debian 13 tree of their own, so that an image does not depend on the machine
that made it, nor this machine on a dozen packages.

They see their inputs read-only, may write to their outputs only, have no network, and mount nothing on this machine: what
systemd-nspawn mounts is in a mount namespace, which ends with it, however it ends.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from images import rootfs
from images.isolated import run_isolated
from images.rootfs import SOURCE_DATE, Tree
from images.run import Done, run

# Debian's signed shim and GRUB come along as files; nothing of them is installed anywhere but on the disks.
TREE = Tree(
    "trixie",
    (
        "cryptsetup-bin", "dosfstools", "erofs-utils", "grub-efi-amd64-signed", "mtools", "qemu-utils", "rauc", "shim-signed",
        "squashfs-tools", "zstd",
    ),
)  # fmt: skip
TOOL_SECONDS = 1_800  # the longest takes half a minute on a free core; a busy machine needs many times that
ENVIRONMENT = {"SOURCE_DATE_EPOCH": SOURCE_DATE, "LC_ALL": "C.UTF-8", "TZ": "UTC"}


class Tools(Protocol):
    """Somewhere a program can be run to its end, with the folders it may read and those it may write."""

    def run(
        self, argv: Sequence[str], *, sees: Sequence[Path] = (), makes: Sequence[Path] = (), stdin: str | None = None
    ) -> Done:
        """What the program printed; a `CommandError` when it fails."""

    def file(self, path: str) -> Path:
        """A file that the tools' packages bring."""


@dataclass(frozen=True, slots=True)
class Here:
    """The programs of this machine itself."""

    def run(
        self, argv: Sequence[str], *, sees: Sequence[Path] = (), makes: Sequence[Path] = (), stdin: str | None = None
    ) -> Done:
        """Run it here, where every folder can be reached."""
        del sees, makes
        return run(argv, env=ENVIRONMENT, stdin=stdin, seconds=TOOL_SECONDS)

    def file(self, path: str) -> Path:
        """This machine's own."""
        return Path(path)


ENDS_WITH_US = (
    "setpriv", "--pdeathsig", "KILL", "--",
    "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--",
)  # fmt: skip
"""Should this process be killed, all ends at once that it had started there: it is in one namespace of processes."""


@dataclass(frozen=True, slots=True)
class Inside:
    """The programs of a tree. With `scratch`, what they write beside their outputs goes to memory and is forgotten."""

    root: Path
    scratch: bool = False
    binds: Mapping[str, Path] = field(default_factory=dict)

    def run(
        self, argv: Sequence[str], *, sees: Sequence[Path] = (), makes: Sequence[Path] = (), stdin: str | None = None
    ) -> Done:
        """Run it in the tree, where the folders have the paths that they have here."""
        places = {f"--bind-ro={path}" for path in sees if path not in makes} | {f"--bind={path}" for path in makes}
        for path in (*sees, *makes):
            (self.root / path.relative_to("/")).mkdir(parents=True, exist_ok=True)
        options = [*sorted(places), *(f"--bind-ro={path}:{place}" for place, path in self.binds.items())]
        return run_isolated(
            self.root,
            argv,
            seconds=TOOL_SECONDS,
            options=options,
            environment=ENVIRONMENT,
            scratch=self.scratch,
            before=ENDS_WITH_US,
            stdin=stdin,
        )

    def file(self, path: str) -> Path:
        """The tree's."""
        return self.root / path.lstrip("/")


def ensure(folder: Path) -> Inside:
    """The tools' tree below `folder`, unpacked unless it is there; one of other packages is removed. Who wants it while another
    process makes it waits."""
    root = folder / f"tools-{TREE.digest}"
    ready = root / "ready"
    if not ready.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with rootfs.alone(folder / "tools.lock"):
            if not ready.exists():
                _make(folder, root)
                ready.touch()
    return Inside(root)


def _make(folder: Path, root: Path) -> None:
    for old in folder.glob("tools-*"):
        shutil.rmtree(old)
    tar = rootfs.build(TREE, folder / "rootfs")  # apart from the guests' trees
    rootfs.extract(tar, root)
    tar.unlink()  # nobody else wants it
