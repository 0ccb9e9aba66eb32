"""The root of an image as a systemd-nspawn guest at its first start, in a network of its own.

The root is the EROFS itself; /etc lies under a layer, /var begins with what the image has, as sentry-state has it in the
initramfs. What a container has from its host and a first start looks at is the test's: the kernel's command line, and which disks
there are.

    python -m tests.boot.contained IMAGE.qcow2

says how long its first start and the next one take, and what of that each service had.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.config import site
from images import guest as guests
from images import toolbox
from images.disk.layout import KEPT
from images.guest import Guest, Spec, wait_for
from images.lab.zones import DEVICE, MANAGEMENT, ZONES
from images.paths import Layout, write_file
from images.run import run
from images.seal import reading
from tests.boot import network, sites
from tests.boot.machine import AwayError, greeting, nocloud

GUEST = "sentry-first"
SITE = "lab.yml"
DOORS = ((MANAGEMENT.address, 22), (MANAGEMENT.address, 8443), (DEVICE.address, 443))
ANSWER_SECONDS = 600.0  # a busy machine needs many times what is measured

PLATFORM = "/run/platform"
DROPIN = f"""\
[Service]
BindReadOnlyPaths={PLATFORM}/cmdline:/proc/cmdline {PLATFORM}/block:/sys/class/block {PLATFORM}/cidata.iso:/dev/sr0
"""


@dataclass
class Started:
    """A guest that has been switched on: when (on `time.monotonic`), and where it is."""

    guest: Guest
    since: float

    def answers(self) -> dict[int, float]:
        """Wait until all three doors answer from outside; after how many seconds each did."""
        found: dict[int, float] = {}

        def look() -> bool:
            for address, port in DOORS:
                if port not in found and _is_there(address, port):
                    found[port] = time.monotonic() - self.since
            return len(found) == len(DOORS)

        wait_for(look, f"{GUEST} to answer", ANSWER_SECONDS)
        return found


def _is_there(address: str, port: int) -> bool:
    try:
        return bool(greeting(address, port))
    except AwayError:
        return False


def root(image: Path, folder: Path, layout: Layout) -> Path:
    """The root of a qcow2 that ships, verified, as a file in `folder`."""
    raw = folder / "disk.raw"
    run(["qemu-img", "convert", "-O", "raw", image, raw])
    found = reading.read(raw, folder / "read", toolbox.ensure(layout.build / "images"))
    raw.unlink()
    shutil.rmtree(found.tree)
    return found.root.image


@dataclass(frozen=True)
class Contained:
    """An appliance of this root (a file), with what of it outlives a start in `folder`."""

    erofs: Path
    folder: Path

    @classmethod
    def made(cls, erofs: Path, folder: Path, user_data: str) -> "Contained":
        """A new one, with a NoCloud CD that has this user-data."""
        for name in ("var", "home", "platform/block/sr0"):
            (folder / name).mkdir(parents=True)
        shutil.copyfile(nocloud(folder, user_data), folder / "platform/cidata.iso")
        write_file(folder / "platform/cmdline", "sentry.platform=nocloud\n")
        with network.apart():
            run(["mount", "-t", "erofs", "-o", "ro", erofs, "/mnt"])
            run(["cp", "-a", "/mnt/var/.", folder / "var"])
        return cls(erofs, folder)

    @contextmanager
    def on(self) -> Iterator[Started]:
        """Switched on, and this thread in its network; shut down at the end of the block."""
        layout, etc = Layout(self.folder / "build"), self._layer()
        options = (
            "--read-only",
            f"--overlay=+/etc:{etc}:/etc",
            f"--bind={self.folder}/var:/var",
            f"--bind={self.folder}/home:/home",
            f"--bind-ro={self.folder}/platform:{PLATFORM}",
        )
        links = tuple(zone.link for zone in ZONES)
        spec = Spec(GUEST, None, "", links, self._mount, dies_with_us=True, options=options, left_alone=True)
        with network.of_its_own(cards=()), network.apart():
            since = time.monotonic()
            guest = guests.boot(spec, layout)
            try:
                yield Started(guest, since)
            finally:
                guests.stop(guest, layout)

    def _mount(self, place: Path) -> None:
        run(["mount", "-t", "erofs", "-o", "ro", self.erofs, place])

    def _layer(self) -> Path:
        """What lies over /etc when it starts: what is kept of it, and the test's own."""
        etc, kept = self.folder / "etc", self.folder / "var/lib/sentry/etc"
        shutil.rmtree(etc, ignore_errors=True)
        for name in KEPT:
            if (kept / name).exists():
                (etc / name).parent.mkdir(parents=True, exist_ok=True)
                run(["cp", "-a", kept / name, etc / name])
        write_file(etc / "systemd/system/sentry-first-boot.service.d/90-contained.conf", DROPIN)
        return etc


def user_data(folder: Path) -> str:
    """The lab's site, without what user-data may not hold."""
    layout = sites.place(folder)
    return sites.user_data(site.load(sites.file(layout, SITE)))


def main(image: Path) -> None:
    """Start it twice, and say what each start took."""
    with tempfile.TemporaryDirectory(prefix="contained-") as name:
        folder = Path(name)
        made = Contained.made(root(image, folder, Layout()), folder / "guest", user_data(folder / "site"))
        for start in ("first start", "next start"):
            with made.on() as one:
                for port, seconds in sorted(one.answers().items()):
                    sys.stdout.write(f"{start}: {port} answers after {seconds:.1f} s\n")
                sys.stdout.write(one.guest.execute(["systemd-analyze", "--no-pager", "blame"], check=False).stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
