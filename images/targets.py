"""The targets as a table: they differ in this data and in nothing else. Tree, kernel, initramfs and root are the same bytes."""

from dataclasses import dataclass
from typing import Literal

Format = Literal["qcow2", "ova", "raw.zst", "vhd.zst"]

SYSTEM_GIB = 16  # a disk with room for state: logs for 30 days, audit, the device list of a large site
SNUG = 0  # no larger than its contents: the platform is told the size of the disk that is made from it


@dataclass(frozen=True, slots=True)
class Target:
    """A target: its word, what the image is started on, its disk in GiB, the kernel's arguments, the files made of the disk.

    `platform` is what the boot menu hands to the kernel as sentry.platform=: where the appliance looks for its user-data.
    """

    name: str
    about: str
    platform: str
    disk_gib: int
    arguments: tuple[str, ...]
    formats: tuple[Format, ...]


# The serial console comes last: /dev/console is the last one named, and clouds show only that. Log-in is on both.
_CONSOLES = ("console=tty0", "console=ttyS0,115200n8")

TARGETS = {
    "vm": Target(
        "vm", "QEMU/KVM, Proxmox, vSphere, VirtualBox", "nocloud", SYSTEM_GIB, _CONSOLES, ("qcow2", "ova"),
    ),
    "aws": Target(
        "aws", "Amazon EC2", "ec2", SNUG,
        # A volume that is slow for a moment must not become an I/O error (AWS, "NVMe block device I/O timeout").
        (*_CONSOLES, "nvme_core.io_timeout=4294967295"), ("raw.zst",),
    ),
    "azure": Target(
        "azure", "Azure, generation 2", "azure", SYSTEM_GIB, (*_CONSOLES, "earlyprintk=ttyS0,115200"), ("vhd.zst",),
    ),
}  # fmt: skip

ABOUT: dict[Format, str] = {
    "qcow2": "QEMU/KVM, Proxmox, OpenStack",
    "ova": "vSphere, VMware Workstation, VirtualBox",
    "raw.zst": "AWS: unpack, import as a snapshot, register with the parameters beside it",
    "vhd.zst": "Azure, generation 2: unpack, upload as a page blob or a managed disk",
}


def chosen(name: str) -> tuple[Target, ...]:
    """The target of this name, or all of them for `all`; a `KeyError` for any other word."""
    return tuple(TARGETS.values()) if name == "all" else (TARGETS[name],)
