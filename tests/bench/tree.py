"""Where a run happens: a Debian 13 of its own, with the packages of the appliance, the peers as Debian ships them, and the
appliance's OpenSSL configuration. So all speak TLS through the same library and the same FIPS provider, and the figures do not
depend on what the machine below happens to have installed."""

import fcntl
import os
import shutil
from pathlib import Path

from images.console import say
from images.native.build import compiled
from images.paths import Layout
from images.rootfs import Tree, build, extract
from images.run import run
from images.source import release_files

REPO = Path(__file__).resolve().parent.parent.parent
INSIDE = Path("/sentry")  # where the checkout is seen from inside
RELEASE = Path(
    "/usr/lib/sentry/current"
)  # and where our own code lies as a release has it, compiled; as on the appliance

GATEWAY = (  # what the data plane needs of the appliance's packages
    "openssl",
    "openssl-provider-fips",
    "python3",
    "python3-cryptography",
    "python3-jinja2",
    "python3-lmdb",
    "python3-msgspec",
    "python3-uvloop",
)
PEERS = ("haproxy", "nginx")
LOAD = ("wrk", "nghttp2-client", "procps")

_MODULE = "/usr/lib/x86_64-linux-gnu/ossl-modules/fips.so"


class BusyError(RuntimeError):
    """Another run is at work here."""


def prepare(folder: Path) -> Path:
    """The tree, unpacked and ready below `folder`; one that is there already for the same inputs is used again."""
    layout = Layout(folder.parent)
    tree = Tree("trixie", tuple(sorted(GATEWAY + PEERS + LOAD)))
    root = folder / f"root-{tree.digest}"
    tar = build(tree, layout.trees)
    if not (root / "ready").exists():
        shutil.rmtree(root, ignore_errors=True)
        say(f"    unpacking {tar.name}")
        extract(tar, root)
        (root / INSIDE.relative_to("/")).mkdir()
        (root / "ready").touch()
    _put_release(root, layout)
    _put_cryptography(root)
    return root


def alone(folder: Path) -> None:
    """Have this machine for one run: no other begins before this one has ended, since each would spoil the other's figures.

    Raises `BusyError`. The lock is this process's, whatever it becomes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BusyError(f"{folder}: another run is at work; two at a time would measure each other") from error
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - the name says it


def enter(root: Path, arguments: list[str]) -> None:
    """Become the run inside the tree: its own mounts, processes, which all end with it, and loopback."""
    os.execvp("unshare", _argv(root, arguments))  # noqa: S606 - no shell is wanted


def _argv(root: Path, arguments: list[str]) -> list[str]:
    python = REPO / ".venv/bin/python"
    inner = [str(python), "-m", "tests.bench.inside", str(root), *arguments]
    return ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=SIGKILL", "--", *inner]


def _put_release(root: Path, layout: Layout) -> None:
    """What the appliance's release holds, at the place from which the run imports it."""
    release = root / RELEASE.relative_to("/")
    shutil.rmtree(release, ignore_errors=True)
    for name, content in release_files(REPO, layout.wheels, compiled(REPO, layout)).items():
        place = release / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def _put_cryptography(root: Path) -> None:
    """The role's configuration, and the module's own with the MAC that its self-test has made."""
    module = root / "etc/ssl/fipsmodule.cnf"
    if not module.exists():
        made = ["openssl", "fipsinstall", "-quiet", "-module", _MODULE, "-out", "/etc/ssl/fipsmodule.cnf"]
        run(["chroot", root, "env", "OPENSSL_CONF=/dev/null", *made])
    shutil.copy(REPO / "roles/crypto_policy/files/openssl.cnf", root / "etc/ssl/openssl.cnf")
