"""A real mail server that enforces a policy of its own: Horde 5 with ActiveSync, in a guest of its own (see `backend_guest`).

Debian 12, because its Horde is the one that is packaged.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images import guest as guests
from images.guest import Guest
from images.paths import Layout
from images.rootfs import Tree
from images.run import run
from tests.e2e.mailserver import server as sogo
from tests.gateway import backend_guest
from tests.gateway.backend_guest import Recipe, certify
from tests.gateway.stand import Certificates

NAME = "sentry-horde"
FILES = Path(__file__).parent / "files"
PACKAGES = (
    "dbus", "dovecot-imapd", "iproute2", "nginx-light", "php-cli", "php-fpm", "php-horde", "php-horde-activesync",
    "php-horde-imp", "php-intl", "php-mbstring", "php-pgsql", "php-xml", "postgresql", "procps", "systemd",
    "systemd-sysv",
)  # fmt: skip
READY_SECONDS = 120.0  # PostgreSQL starts and Horde makes its tables: 5 s here, longer on a busy machine


class Wipe:
    """`horde_activesync_device.device_rwstatus` (Horde_ActiveSync::RWSTATUS_*)."""

    NOT_ASKED = (0, 1)
    PENDING = 2
    WIPED = 3


@dataclass(frozen=True, slots=True)
class Horde:
    """The running server."""

    guest: Guest
    address: str

    def demand(self, enforce: str = "true", **policies: object) -> None:
        """Set what it demands of devices, by Horde's own names of the policies, and have every device provision anew.

        `enforce`: "true", "allow" (who cannot comply may pass) or "false".
        """
        said = [f"{name}={str(value).lower()}" for name, value in policies.items()]
        self._administer("policy", enforce, *said)

    def wipe(self, device_id: str) -> None:
        """Ask for a wipe, as the administrator's button does."""
        self._administer("wipe", device_id)

    def cancel_wipe(self, device_id: str) -> None:
        """Take it back."""
        self._administer("cancelwipe", device_id)

    def wipe_status(self, device_id: str) -> int:
        """What its database says of the device's wipe; see `Wipe`."""
        return int(self._ask("select device_rwstatus from horde_activesync_device where device_id = :'id'", device_id))

    def policy_key(self, device_id: str) -> int:
        """The policy key that its database has for the device; 0: none."""
        keys = "select device_policykey from horde_activesync_device_users where device_id = :'id'"
        return int(self._ask(keys, device_id) or "0")

    def _ask(self, sql: str, device_id: str) -> str:
        psql = ["runuser", "-u", "postgres", "--", "psql", "--quiet", "--no-align", "--tuples-only"]
        return self.guest.execute([*psql, f"--set=id={device_id}", "horde"], stdin=sql).stdout.strip()

    def requests_seen(self) -> list[str]:
        """The lines of the front end's access log, oldest first: request line, status, policy key."""
        return (self.guest.root / "var/log/nginx/access.log").read_text(encoding="utf-8").splitlines()

    def _administer(self, *words: str) -> None:
        php = ["runuser", "-u", "www-data", "--", "php", "-d", "error_reporting=1", "/usr/local/lib/horde/admin.php"]
        self.guest.execute([*php, *words])


@contextmanager
def running(layout: Layout, certificates: Certificates) -> Iterator[Horde]:
    """The server for as long as the block lasts; one that ran before goes on."""
    tree = Tree("bookworm", PACKAGES)
    digest = f"{tree.digest}-{sogo.files_digest(FILES, sogo.FILES / 'etc/dovecot')}"
    recipe = Recipe(NAME, "horde", tree, digest, lambda root: _prepare(root, certificates))

    def ready(guest: Guest) -> Horde:
        horde = Horde(guest, backend_guest.address(guest))
        serves = backend_guest.serves
        guests.wait_for(lambda: serves(horde.address, certificates), "Horde to answer OPTIONS", READY_SECONDS)
        return horde

    with backend_guest.running(recipe, layout, certificates, ready) as horde:
        yield horde


def _prepare(root: Path, certificates: Certificates) -> None:
    shutil.copytree(FILES, root, dirs_exist_ok=True)
    shutil.copytree(sogo.FILES / "etc/dovecot", root / "etc/dovecot", dirs_exist_ok=True)
    (root / "etc/hostname").write_text("horde\n", encoding="utf-8")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 horde\n", encoding="utf-8")
    inside: list[str | Path] = ["chroot", root]
    run([*inside, "useradd", "--system", "--user-group", "--home-dir", "/srv/mail", "vmail"])
    run([*inside, "install", "--directory", "--owner=vmail", "--group=vmail", "/srv/mail"])
    # A folder where Net_DNS2 would have its cache: on PHP 8 it dies of an empty cache file, and so does the request.
    own = ("/var/lib/horde", "/var/lib/horde/tmp", "/var/lib/horde/tmp/horde_dns.cachehorde", "/var/log/horde")
    run([*inside, "install", "--directory", "--owner=www-data", "--group=www-data", *own])
    run([*inside, "install", "--directory", "/etc/mailserver"])
    certify(root, certificates)
    units = ("horde-database.service", "php8.2-fpm.service", "dovecot.service", "nginx.service")
    run(["systemctl", f"--root={root}", "enable", *units])
    (root / "etc/php/8.2/fpm/pool.d/www.conf").unlink()
