"""What a machine needs to take updates: RAUC's settings, the authorities it believes, and the units around it.

RAUC writes the slot that does not run, and GRUB's environment, which the menu counts with (`images.disk.grub`). It is started by
our units only, and the ESP is mounted only meanwhile.
"""

from pathlib import Path

from images.disk import grub, layout
from images.disk.stages import FILES
from images.paths import write_file

COMPATIBLE = "sentry-gateway x86-64"
"""What a bundle and a machine must agree on."""
KEYRING = Path("/usr/lib/sentry/update-authorities.pem")
SETTINGS = "usr/lib/rauc/system.conf"
ESP = "/efi"
STATE = Path("/var/lib/sentry/rauc")

UNITS = (
    "efi.mount",
    "sentry-healthy.service",
    "sentry-mark-good.service",
    "sentry-slots.service",
    "sentry-slots.timer",
    "sentry-software.service",
)
ENABLED = {
    "sentry-healthy.service": "boot-complete.target.requires",
    "sentry-mark-good.service": "multi-user.target.wants",
    "sentry-slots.timer": "timers.target.wants",
}
DROPINS = {"rauc.service.d/60-sentry.conf": "rauc.dropin"}
BUS = "etc/dbus-1/system.d/60-sentry-rauc.conf"


def system_conf(*, keyring: Path = KEYRING, state: Path = STATE) -> str:
    """RAUC's system.conf: the two slots by their partitions' names, the ESP's environment, and whom to believe."""
    lines = [
        "# Made by images/updates/machine.py.",
        "[system]",
        f"compatible={COMPATIBLE}",
        "bootloader=grub",
        f"grubenv={ESP}/grubenv",
        "bundle-formats=verity",
        f"data-directory={state}",
        "",
        "[keyring]",
        f"path={keyring}",
        "check-purpose=codesign",
    ]
    for number, slot in enumerate(grub.PARTITIONS):
        letter = slot.lower()
        for kind, last in (("root", f"bootname={slot}"), ("boot", f"parent=rootfs.{number}")):
            partition = next(one.name for one in layout.PARTITIONS if one.name == f"{kind}_{letter}")
            name = "rootfs" if kind == "root" else kind
            lines += [
                "",
                f"[slot.{name}.{number}]",
                f"device=/dev/disk/by-partlabel/{partition}",
                "type=raw",
                last,
            ]
    return "\n".join((*lines, ""))


def install(tree: Path, authorities: Path) -> None:
    """Put it all into a tree that is being sealed; doing it again changes nothing."""
    write_file(tree / SETTINGS, system_conf())
    write_file(tree / KEYRING.relative_to("/"), authorities.read_text(encoding="utf-8"))
    units = tree / "usr/lib/systemd/system"
    for name in UNITS:
        write_file(units / name, (FILES / name).read_text(encoding="utf-8"))
    for name, source in DROPINS.items():
        write_file(units / name, (FILES / source).read_text(encoding="utf-8"))
    write_file(tree / BUS, (FILES / "rauc-bus.conf").read_text(encoding="utf-8"))
    for name, target in ENABLED.items():
        place = tree / "etc/systemd/system" / target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(f"/usr/lib/systemd/system/{name}")
    (tree / ESP.lstrip("/")).mkdir(exist_ok=True)
