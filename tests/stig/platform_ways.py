"""Ways to break a running appliance that take more than one step: strange files, what the kernel shows, packages."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.stig.breaks import Root, kept

STRANGERS = "/srv/seen-red"
LINKS, PROCESSOR = "/sys/class/net", "/proc/cpuinfo"
SURPLUS = "seen-red-surplus"
CONTROL = """\
Package: {name}
Version: 0.0
Architecture: all
Maintainer: nobody <nobody@lab.test>
Description: nothing, by the name of a package that must not be there
"""


@contextmanager
def strangers(root: Root) -> Iterator[None]:
    """Files that nobody owns, that lend rights and that name trusted hosts; programs and libraries that are not the system's."""
    loose = [f"/usr/local/{folder}/seen-red{kind}" for folder in ("bin", "lib") for kind in ("", ".d")]
    try:
        root("install", "-d", "-m", "1777", "-o", "admin", STRANGERS)
        root("install", "-m", "4755", "-o", "61999", "-g", "61999", "/dev/null", f"{STRANGERS}/.shosts")
        for path in loose:
            argv = ["-d"] if path.endswith(".d") else ["/dev/null"]
            root("install", "-m", "0777", "-o", "builder", "-g", "builder", *argv, path)
        yield
    finally:
        root("rm", "-rf", STRANGERS, *loose)


@contextmanager
def covered(root: Root, path: str, copy: str, *change: str) -> Iterator[None]:
    """What the kernel shows at `path` is a changed copy of it: `change` is a command that gets the copy's path as last word."""
    root("mkdir", "-p", copy.rpartition("/")[0])
    root("cp", "-a", path, copy)
    try:
        root(*change, copy)
        root("mount", "--bind", copy, path)
        try:
            yield
        finally:
            root("umount", path)
    finally:
        root("rm", "-rf", copy)


@contextmanager
def radio(root: Root) -> Iterator[None]:
    """Beside the links that are there, one that looks as a wireless one does."""
    with covered(root, LINKS, "/run/stig-seen-red-links/net", "true"):
        root("mkdir", "-p", f"{LINKS}/wlan0/wireless")
        yield


@contextmanager
def no_execute_hidden(root: Root) -> Iterator[None]:
    """A processor that does not say that data in memory can be kept from being run."""
    with covered(root, PROCESSOR, "/run/stig-seen-red-processor/cpuinfo", "sed", "-i", r"s/\bnx\b//"):
        yield


@contextmanager
def installed(root: Root, names: Iterable[str]) -> Iterator[None]:
    """Empty packages of these names, as dpkg installs any."""
    folder = "/run/stig-seen-red-packages"
    every = tuple(names)
    try:
        for name in every:
            root("mkdir", "-p", f"{folder}/{name}/DEBIAN")
            root("tee", f"{folder}/{name}/DEBIAN/control", stdin=CONTROL.format(name=name))
            root("dpkg-deb", "--build", f"{folder}/{name}", f"{folder}/{name}.deb")
        # They come with no dependencies and no files, so nothing of what is there can be in their way.
        files = [f"{folder}/{name}.deb" for name in every]
        root("dpkg", "--force-conflicts", "--force-breaks", "--force-unsafe-io", "--install", *files)
        yield
    finally:
        root("dpkg", "--force-depends", "--purge", *every, check=False)
        root("rm", "-rf", folder)


@contextmanager
def remnant(root: Root) -> Iterator[None]:
    """A package that nothing needs, and that apt believes to have come for another's sake."""
    with kept(root, "/var/lib/apt/extended_states"), installed(root, [SURPLUS]):
        root("apt-mark", "auto", SURPLUS)
        yield


@contextmanager
def deselected(root: Root, names: Iterable[str]) -> Iterator[None]:
    """These packages as dpkg lists them once they have been removed."""
    wanted = frozenset(names)
    rows = root("dpkg", "--get-selections").stdout.splitlines()
    chosen = [row.split()[0] for row in rows if row.split()[0].partition(":")[0] in wanted]
    assert {name.partition(":")[0] for name in chosen} == wanted
    try:
        root("dpkg", "--set-selections", stdin="".join(f"{name} deinstall\n" for name in chosen))
        yield
    finally:
        root("dpkg", "--set-selections", stdin="".join(f"{name} install\n" for name in chosen))
