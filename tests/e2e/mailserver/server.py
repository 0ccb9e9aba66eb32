"""The real mail server the end-to-end tests talk through the appliance to: SOGo with ActiveSync, in a guest of its own.

It is Debian 12 whatever this machine is, because its configuration is written for that release's Dovecot and PostgreSQL.
"""

import hashlib
import shutil
import smtplib
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

from images import guest as guests
from images import rootfs
from images.guest import Guest, Spec
from images.lab.zones import BACKEND, MAIL_ADDRESS, MAIL_SERVER
from images.network import Link
from images.paths import Layout
from images.rootfs import Tree
from images.run import run

NAME = "sentry-mail"
FILES = Path(__file__).parent / "files"
PACKAGES = (
    "ca-certificates", "dbus", "dovecot-imapd", "iproute2", "memcached", "nginx-light", "postgresql", "procps",
    "python3-aiosmtpd", "sogo", "sogo-activesync", "systemd", "systemd-sysv",
)  # fmt: skip
LINK = Link("lab-mail", "backend0", None, MAIL_ADDRESS, bridge=BACKEND.link.bridge)
SMTP_PORT = 2525
READY_SECONDS = 90.0  # 12 workers start one after the other; 5 s here, longer on a busy machine


@dataclass(frozen=True, slots=True)
class Account:
    """A mailbox and its password."""

    user: str
    password: str


ALICE, BOB, CAROL = (Account(user, f"{user}pw") for user in ("alice", "bob", "carol"))


@dataclass(frozen=True, slots=True)
class MailServer:
    """The running mail server."""

    guest: Guest
    authority: Path

    def deliver(self, user: str, subject: str) -> None:
        """Put a new message into the user's inbox."""
        message = EmailMessage()
        message["From"] = "sender@lab.test"
        message["To"] = f"{user}@lab.test"
        message["Subject"] = subject
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain="lab.test")
        message.set_content(f"The body of {subject}.\n")
        with smtplib.SMTP(MAIL_ADDRESS, SMTP_PORT, timeout=10) as smtp:
            smtp.send_message(message)

    def requests_seen(self) -> list[str]:
        """The lines of the front end's access log, oldest first: everything that reached the mail server."""
        log = self.guest.root / "var/log/nginx/access.log"
        return log.read_text(encoding="utf-8", errors="replace").splitlines()

    def stop(self) -> None:
        """Stop the front end: connections to it are refused."""
        self.guest.execute(["systemctl", "stop", "nginx.service"])

    def start(self) -> None:
        """Start the front end again and wait until it serves."""
        self.guest.execute(["systemctl", "start", "nginx.service"])
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return once a user can log in over ActiveSync; a `GuestError` when that takes too long."""
        guests.wait_for(self._serves, "SOGo to answer OPTIONS", READY_SECONDS)

    def _serves(self) -> bool:
        code = run(
            ["curl", "--silent", "--max-time", "20", "--output", "/dev/null", "--write-out", "%{http_code}",
             "--cacert", self.authority, "--resolve", f"{MAIL_SERVER}:443:{MAIL_ADDRESS}",
             "--user", f"{ALICE.user}:{ALICE.password}", "--request", "OPTIONS",
             f"https://{MAIL_SERVER}/Microsoft-Server-ActiveSync"],
            check=False,
        )  # fmt: skip
        return code.stdout == "200"


def ensure(layout: Layout) -> tuple[MailServer, bool]:
    """The running mail server, booted if it is not there yet; and whether this call booted it."""
    tree = Tree("bookworm", PACKAGES)
    digest = f"{tree.digest}-{files_digest(FILES, layout.lab / 'mail.pem')}"
    guest = guests.find(NAME, layout)
    booted = False
    if guest is not None and guest.tree != digest:
        guests.stop(guest, layout)
        guest = None
    if guest is None:
        tar = rootfs.build(tree, layout.trees)
        guest = guests.boot(Spec(NAME, tar, digest, (LINK,), lambda root: _prepare(root, layout)), layout)
        booted = True
    server = MailServer(guest, layout.lab / "backend-ca.pem")
    server.wait_until_ready()
    if booted:
        _welcome(server)
    return server, booted


def _welcome(server: MailServer) -> None:
    """Give every account a first message and open its inbox once.

    SOGo asks IMAP what has changed since a moment (RFC 7162 CONDSTORE); Dovecot counts those moments only from the first
    time that somebody asks for them.
    """
    for account in (ALICE, BOB, CAROL):
        server.deliver(account.user, "Welcome")
        server.guest.execute(["doveadm", "fetch", "-u", account.user, "uid modseq", "mailbox", "INBOX", "all"])


def _prepare(root: Path, layout: Layout) -> None:
    shutil.copytree(FILES, root, dirs_exist_ok=True)
    for name in ("mail.pem", "mail.key"):
        shutil.copy(layout.lab / name, root / "etc/mailserver" / name)
    (root / "etc/hostname").write_text("mail\n", encoding="utf-8")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 mail {MAIL_SERVER}\n", encoding="utf-8")
    run(["chroot", root, "useradd", "--system", "--user-group", "--home-dir", "/srv/mail", "vmail"])
    run(["chroot", root, "install", "--directory", "--owner=vmail", "--group=vmail", "/srv/mail"])
    units = ("mail-database.service", "mail-sink.service", "sogo.service", "nginx.service", "dovecot.service")
    run(["systemctl", f"--root={root}", "enable", *units])


def files_digest(*places: Path) -> str:
    """What tells the files at these places, or below them, from others."""
    digest = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*")) if place.is_dir() else (place,):
            if path.is_file():
                digest.update(str(path.relative_to(place)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
