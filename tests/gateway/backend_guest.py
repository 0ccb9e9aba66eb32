"""What the real mail servers of this room have in common: each is a guest on a network that only it and this machine share.

They need no appliance: the gateway under test runs on this machine. Several checkouts may run their guests at once: each takes
a network of its own, 10.98.16.0/24 to 10.98.255.0/24. The lab's are 10.98.1.0/24 to 10.98.3.0/24.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters
from typing import TypeVar

from images import guest as guests
from images import network, rootfs
from images.guest import Guest, Spec
from images.network import Link
from images.paths import Layout
from images.rootfs import Tree
from images.run import run
from tests.e2e.mailserver.server import ALICE
from tests.gateway.stand import Certificates

SERVER_NAME = "backend.lab.test"  # what their certificate says
KINDS = ("horde", "sogo")
INSIDE = "backend0"  # the guest's end
_FIRST, _NETWORKS = 16, 240

Server = TypeVar("Server")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What such a guest is made of; `digest` is of all of it."""

    name: str
    kind: str
    tree: Tree
    digest: str
    prepare: Callable[[Path], None]


def free_link(kind: str, layout: Layout) -> Link:
    """A network that nobody on this machine uses: always the same one for a checkout, unless that is taken."""
    said = f"{kind}{layout.build.resolve()}".encode()
    first = int.from_bytes(hashlib.sha256(said).digest()[:4], "big")
    for step in range(
        0, _NETWORKS, len(KINDS)
    ):  # each kind has numbers of its own: two that boot at once never take the same
        number = _FIRST + (first - first % len(KINDS) + KINDS.index(kind) + step) % _NETWORKS
        if not any(network.exists(f"{one}{number}") for one in KINDS):
            return Link(f"{kind}{number}", INSIDE, f"10.98.{number}.1", f"10.98.{number}.2")
    raise guests.GuestError(
        f"all {_NETWORKS // len(KINDS)} networks of mail servers are taken; end those that nobody needs"
    )


def address(guest: Guest) -> str:
    """Where the guest is reached."""
    (interface,) = guest.interfaces
    return f"10.98.{interface.lstrip(ascii_letters)}.2"


def certify(root: Path, certificates: Certificates) -> None:
    """Give it the certificate of `SERVER_NAME`."""
    for path, name in zip(certificates.pair("backend"), ("mail.pem", "mail.key"), strict=True):
        shutil.copy(path, root / "etc/mailserver" / name)


def serves(place: str, certificates: Certificates, port: int = 443) -> bool:
    """Whether a user can log in over ActiveSync."""
    code = run(
        ["curl", "--silent", "--max-time", "20", "--output", "/dev/null", "--write-out", "%{http_code}",
         "--cacert", certificates.ca, "--resolve", f"{SERVER_NAME}:{port}:{place}",
         "--user", f"{ALICE.user}:{ALICE.password}", "--request", "OPTIONS",
         f"https://{SERVER_NAME}:{port}/Microsoft-Server-ActiveSync"],
        check=False,
    )  # fmt: skip
    return code.stdout == "200"


@contextmanager
def running(
    recipe: Recipe,
    layout: Layout,
    certificates: Certificates,
    ready: Callable[[Guest], Server],
    welcome: Callable[[Server], None] | None = None,
) -> Iterator[Server]:
    """The mail server for as long as the block lasts: the one that runs, if it is of this recipe, which then goes on; else a new
    one. `ready` waits until it serves; `welcome` is for one that has just been booted."""
    guest = guests.find(recipe.name, layout)
    if guest is not None and guest.tree != recipe.digest:
        guests.stop(guest, layout)
        guest = None
    booted = guest is None
    if guest is None:
        tar = rootfs.build(recipe.tree, layout.trees)
        link = free_link(recipe.kind, layout)
        guest = guests.boot(Spec(recipe.name, tar, recipe.digest, (link,), recipe.prepare), layout)
    else:  # its certificate was another session's
        certify(guest.root, certificates)
        guest.execute(["systemctl", "restart", "nginx.service"])
    try:
        server = ready(guest)
        if booted and welcome is not None:
            welcome(server)
        yield server
    finally:
        if booted:
            guests.stop(guest, layout)
