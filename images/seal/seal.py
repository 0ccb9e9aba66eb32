"""A provisioned tree becomes what many machines start from: the builder's account, all state, and all that tells one machine from
another goes; the parts of a sealed image come."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from images.disk import layout
from images.disk.stages import FILES
from images.paths import write_file
from images.rootfs import SOURCE_DATE
from images.seal import accounts, apparmor

HOST_NAME = "sentry"  # until a site configuration names it

# Removed wherever they are; below a folder that ends with a slash all is removed, and the folder stays.
GONE = (
    "boot/initrd.img*",
    "boot/config-*",
    "boot/System.map-*",
    "etc/.pwd.lock",
    "etc/.updated",
    "etc/adjtime",
    "etc/group-",
    "etc/gshadow-",
    "etc/hostname",
    "etc/machine-info",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow-",
    "etc/ssh/authorized_keys.d/",
    "etc/ssh/ssh_host_*",
    "etc/ssl/fipsmodule.cnf",  # the module tests itself on each machine
    "etc/subgid-",
    "etc/subuid-",
    "etc/sudoers.d/",
    "etc/systemd/network/",
    "etc/systemd/system/lab-host-keys.service",
    "etc/systemd/system/*.wants/lab-host-keys.service",
    "home/",
    "initrd.img*",
    "root/",
    "run/",
    "tmp/",
    "vmlinuz*",
)
# What configd had rendered for the builder's guest would be a configuration that nobody committed.
RENDERED = ("etc/nftables.conf", "etc/sentry/")

# Of /var, files stay below these only: what packages brought, and not what ran. Folders stay, for daemons expect theirs.
VAR_KEPT = (
    "var/cache/cracklib",
    "var/lib/apt/extended_states",
    "var/lib/dpkg",
    "var/lib/pam",
    "var/lib/polkit-1",
    "var/lib/python",
    "var/lib/shells.state",
    "var/lib/systemd/catalog",
    "var/lib/systemd/deb-systemd-helper-enabled",
    "var/lib/systemd/deb-systemd-helper-masked",
    "var/lib/ucf",
)
_VAR_EMPTY = ("var/cache/apt", "var/lib/apt/lists", "var/lib/sentry", "var/log/journal", "var/spool/rsyslog", "var/tmp")

# dpkg's record is the image's and not the machine's: an update brings its own with its packages.
RECORD = "usr/lib/sysimage/dpkg"

UNITS = (
    "sentry-first-boot.service",
    "sentry-host-keys.service",
    "sentry-keep.path",
    "sentry-keep.service",
    "sentry-setup@.service",
)
DROPINS = {"nftables.service": "nftables.dropin", "sentry-facts.service": "facts.dropin"}
# The consoles that the kernel's command line names (images/targets.py).
ENABLED = (
    "sentry-first-boot.service",
    "sentry-host-keys.service",
    "sentry-keep.path",
    "sentry-keep.service",
    "sentry-setup@tty1.service",
    "sentry-setup@ttyS0.service",
)
MASKED = (
    "grub-common.service",
    "ldconfig.service",  # at each start anew, as /etc is; the image has the libraries' list
    "sshd-keygen.service",  # would make keys of all kinds
    "systemd-firstboot.service",
    "systemd-growfs-root.service",
    "systemd-repart.service",
)


class SealError(RuntimeError):
    """The tree is not one that can be sealed."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """How a tree was sealed: which account built it, and the version it is."""

    builder: str
    version: str


def seal(tree: Path, sealed: Sealed) -> None:
    """Seal the tree; doing it again changes nothing. Raises `SealError` for a tree that the roles have not been applied to."""
    if not (tree / "usr/lib/sentry/current/RELEASE").is_file():
        raise SealError(f"{tree}: holds no release of Sentry; the roles must have been applied to it")
    for pattern in (*GONE, *RENDERED):
        _remove(tree, pattern)
    _var(tree)
    _accounts(tree, sealed.builder)
    _machine(tree, sealed.version)
    _record(tree)
    apparmor.remove(tree)
    _parts(tree)


def _remove(tree: Path, pattern: str) -> None:
    if pattern.endswith("/"):
        folder = tree / pattern
        for path in folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ():
            _delete(path)
        return
    for path in _found(tree, pattern):
        _delete(path)


def _found(tree: Path, pattern: str) -> Iterator[Path]:
    """What the pattern matches, links that lead nowhere too: Path.glob passes those over."""
    place, _, name = pattern.rpartition("/")
    for folder in list(tree.glob(place)) if place else [tree]:
        yield from (path for path in sorted(folder.iterdir()) if fnmatchcase(path.name, name))


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _var(tree: Path) -> None:
    """Files and links go but for those on the list; of what ran, the folders too."""
    for name in _VAR_EMPTY:
        _remove(tree, f"{name}/")
    kept = tuple(tree / name for name in VAR_KEPT)
    for path in sorted((tree / "var").rglob("*"), reverse=True):
        below = any(path == place or place in path.parents for place in kept)
        if not below and (path.is_symlink() or not path.is_dir()) and path.parent != tree / "var":
            path.unlink()


def _accounts(tree: Path, builder: str) -> None:
    edits: dict[str, tuple[Callable[[str], str], ...]] = {
        "passwd": (
            lambda text: accounts.without_account(text, builder),
            lambda text: accounts.with_shell(text, "root", accounts.NOLOGIN),
        ),
        "shadow": (
            lambda text: accounts.without_account(text, builder),
            lambda text: accounts.changed_on(text, int(SOURCE_DATE)),
        ),
        "subuid": (lambda text: accounts.without_account(text, builder),),
        "subgid": (lambda text: accounts.without_account(text, builder),),
        "group": (lambda text: accounts.without_member(text, builder),),
        "gshadow": (lambda text: accounts.without_member(text, builder),),
    }
    for name, steps in edits.items():
        path = tree / "etc" / name
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        for step in steps:
            text = step(text)
        path.write_text(text, encoding="utf-8")  # in place: owner and mode are those it must have
    _without_lines(tree / "etc/sudoers", rf"{re.escape(builder)}\s")
    # systemd-sysusers makes whoever is to be the member of a group.
    _without_lines(tree / "etc/sysusers.d/sentry.conf", rf"m\s+{re.escape(builder)}\s")


def _without_lines(path: Path, pattern: str) -> None:
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not re.match(pattern, line)), encoding="utf-8")


def _machine(tree: Path, version: str) -> None:
    """What tells one machine from another is empty; what tells one version from another is written down."""
    (tree / "etc/machine-id").write_bytes(b"")
    link = tree / "var/lib/dbus/machine-id"
    if link.parent.is_dir() and not link.is_symlink():
        link.symlink_to("/etc/machine-id")
    write_file(tree / "etc/hostname", f"{HOST_NAME}\n")
    write_file(tree / "etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {HOST_NAME}\n")
    write_file(tree / "etc/fstab", layout.fstab())
    write_file(tree / "usr/lib/sentry/image", f"{version}\n")


def _record(tree: Path) -> None:
    place, link = tree / RECORD, tree / "var/lib/dpkg"
    if link.is_symlink():
        return
    if not (link / "status").is_file():
        raise SealError(f"{tree}: has no record of its packages in var/lib/dpkg")
    place.parent.mkdir(parents=True, exist_ok=True)
    for lock in (
        "lock",
        "lock-frontend",
        "triggers/Lock",
        "status-old",
        "available-old",
        "diversions-old",
        "statoverride-old",
    ):
        (link / lock).unlink(missing_ok=True)
    shutil.move(link, place)
    link.symlink_to(f"/{RECORD}")


def _parts(tree: Path) -> None:
    """The units and tools of a sealed image, what they read, and the place where users' files of state begin."""
    for name in ("sentry-host-keys", "sentry-keep"):
        write_file(tree / f"usr/lib/sentry/bin/{name}", (FILES / name).read_text(encoding="utf-8"), 0o755)
    for name in UNITS:
        write_file(tree / "usr/lib/systemd/system" / name, (FILES / name).read_text(encoding="utf-8"))
    for name in ENABLED:
        unit = re.sub(r"@.*\.", "@.", name)  # an instance is a link to its template
        _link(tree / "etc/systemd/system/multi-user.target.wants" / name, f"/usr/lib/systemd/system/{unit}")
    for unit, source in DROPINS.items():
        text = (FILES / source).read_text(encoding="utf-8")
        write_file(tree / "etc/systemd/system" / f"{unit}.d/70-image.conf", text)
    for name in MASKED:
        _link(tree / "etc/systemd/system" / name, "/dev/null")
    for name, text in layout.repart().items():
        write_file(tree / "usr/lib/sentry/repart.d" / name, text)
    write_file(tree / "usr/lib/sentry/kept", "".join(f"{name}\n" for name in layout.KEPT))
    for state in layout.STATE:
        (tree / state.place.lstrip("/")).mkdir(parents=True, exist_ok=True)


def _link(place: Path, target: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(target)
