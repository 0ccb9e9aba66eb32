"""A real mail server that knows no policies: SOGo with ActiveSync as a pool of two, in a guest of its own (see `backend_guest`).

It is the end-to-end tests' mail server with a second SOGo on the same database, and without an appliance before it.
"""

import shutil
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

from images import guest as guests
from images.guest import Guest
from images.paths import Layout
from images.rootfs import Tree
from images.run import run
from tests.e2e.mailserver import server as lab
from tests.e2e.mailserver.server import ALICE, BOB
from tests.gateway import backend_guest
from tests.gateway.backend_guest import Recipe
from tests.gateway.stand import Certificates

NAME = "sentry-sogo"
FILES = Path(__file__).parent / "files"
PORTS = (443, 444)
UNITS = {443: "sogo.service", 444: "sogo-second.service"}
READY_SECONDS = 120.0  # two times 12 workers start one after the other; 8 s here, longer on a busy machine


@dataclass(frozen=True, slots=True)
class Sogo:
    """The running pool."""

    guest: Guest
    address: str
    certificates: Certificates

    def deliver(self, user: str, subject: str, body: str) -> None:
        """Put a new message into the user's inbox."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "sender@lab.test", f"{user}@lab.test", subject
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="lab.test")
        message.set_content(body)
        with smtplib.SMTP(self.address, lab.SMTP_PORT, timeout=10) as smtp:
            smtp.send_message(message)

    def requests_seen(self, word: str) -> list[str]:
        """The lines of the front ends' access log with this word, oldest first: port, request line, status, bytes."""
        log = (self.guest.root / "var/log/nginx/access.log").read_text(encoding="utf-8", errors="replace")
        return [line for line in log.splitlines() if word in line]

    def stop(self, port: int) -> None:
        """End one of the two; its front end answers 502 from then on."""
        self.guest.execute(["systemctl", "stop", UNITS[port]])

    def start(self, port: int) -> None:
        """Start it again and wait until it serves."""
        self.guest.execute(["systemctl", "start", UNITS[port]])
        self.wait_until_ready(port)

    def wait_until_ready(self, port: int) -> None:
        """Return once a user can log in there; a `GuestError` when that takes too long."""
        serves = backend_guest.serves
        guests.wait_for(
            lambda: serves(self.address, self.certificates, port), f"SOGo to answer at {port}", READY_SECONDS
        )


@contextmanager
def running(layout: Layout, certificates: Certificates) -> Iterator[Sogo]:
    """The pool for as long as the block lasts; one that ran before goes on."""
    tree = Tree("bookworm", lab.PACKAGES)
    digest = f"{tree.digest}-{lab.files_digest(FILES, lab.FILES)}"
    recipe = Recipe(NAME, "sogo", tree, digest, lambda root: _prepare(root, certificates))

    def ready(guest: Guest) -> Sogo:
        sogo = Sogo(guest, backend_guest.address(guest), certificates)
        for port in PORTS:
            sogo.wait_until_ready(port)
        return sogo

    with backend_guest.running(recipe, layout, certificates, ready, _welcome) as sogo:
        yield sogo


def _welcome(sogo: Sogo) -> None:
    """Open each inbox once: Dovecot counts moments (CONDSTORE) only from the first time that somebody asks for them."""
    for account in (ALICE, BOB):
        sogo.deliver(account.user, "Welcome", "Hello\n")
        sogo.guest.execute(["doveadm", "fetch", "-u", account.user, "uid modseq", "mailbox", "INBOX", "all"])


def _prepare(root: Path, certificates: Certificates) -> None:
    for files in (lab.FILES, FILES):
        shutil.copytree(files, root, dirs_exist_ok=True)
    config = (root / "etc/sogo/sogo.conf").read_text(encoding="utf-8")
    (root / "etc/sogo/second.conf").write_text(config.replace("127.0.0.1:20000", "127.0.0.1:20010"), encoding="utf-8")
    (root / "etc/hostname").write_text("sogo\n", encoding="utf-8")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 sogo\n", encoding="utf-8")
    inside: list[str | Path] = ["chroot", root]
    run([*inside, "useradd", "--system", "--user-group", "--home-dir", "/srv/mail", "vmail"])
    run([*inside, "install", "--directory", "--owner=vmail", "--group=vmail", "/srv/mail"])
    run([*inside, "install", "--directory", "/etc/mailserver"])
    backend_guest.certify(root, certificates)
    units = ("mail-database.service", "mail-sink.service", *UNITS.values(), "nginx.service", "dovecot.service")
    run(["systemctl", f"--root={root}", "enable", *units])
