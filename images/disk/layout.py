"""The disk's layout as tables: what an image brings, what its first start adds, and where that is mounted.

    ESP | boot_a | root_a | boot_b | root_b |        in the image
    log | audit | scratch | home | var               made at the first start, the last one to the disk's end

A slot is a boot and a root partition; slot b is empty until the first update. Only `var` grows, so it is last: a disk that is
made larger later gives it the room at the next start.
"""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID, uuid5

from images.disk import gpt
from images.disk.gpt import Table
from images.formats.sparse import MIB, DiskError

NAMESPACE = UUID("5ba42c0b-9ef3-5b0a-8a6c-0c54d0a5a7b1")  # of all ids of ours: a name in it gives the same id each time
Content = Literal["esp", "boot", "root"]


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of the image: its name on the disk, type, size in MiB, and what is written there; None: it stays empty."""

    name: str
    kind: UUID
    mib: int
    content: Content | None


@dataclass(frozen=True, slots=True)
class State:
    """A partition that the first start makes: name, type, least and most MiB (None: all there is), where it is mounted, how.

    `filled` says whether it begins with what the image has at that place.
    """

    name: str
    kind: UUID
    least_mib: int
    most_mib: int | None
    place: str
    options: str
    filled: bool = True


def identity(*words: str) -> UUID:
    """The id that these words always have; with the version among them, each version's disks have their own."""
    return uuid5(NAMESPACE, " ".join(words))


# The Discoverable Partitions Specification's types would have systemd mount things by itself; with types of our own, only what
# stands here is mounted. What the first start makes must differ from what the image brings, or systemd-repart takes one for
# the other.
ESP_TYPE = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")  # the firmware looks for this one
BOOT_TYPE, ROOT_TYPE = identity("type", "boot"), identity("type", "root")

ESP_MIB = 64  # shim, GRUB and its MokManager take 5; FAT32 asks for 33
BOOT_MIB = 128  # a kernel and an initramfs take 40
ROOT_MIB = 1024  # a compressed root takes 250; an update must find room for years to come

PARTITIONS = (
    Partition("esp", ESP_TYPE, ESP_MIB, "esp"),
    Partition("boot_a", BOOT_TYPE, BOOT_MIB, "boot"),
    Partition("root_a", ROOT_TYPE, ROOT_MIB, "root"),
    Partition("boot_b", BOOT_TYPE, BOOT_MIB, None),
    Partition("root_b", ROOT_TYPE, ROOT_MIB, None),
)

_CLOSED = "nodev,nosuid,noexec"
STATE = (
    State("log", identity("type", "log"), 512, 2048, "/var/log", _CLOSED),
    State("audit", identity("type", "audit"), 256, 1024, "/var/log/audit", _CLOSED),
    State("scratch", identity("type", "scratch"), 128, 512, "/var/tmp", _CLOSED, filled=False),  # noqa: S108 - its own partition
    State("home", identity("type", "home"), 64, 256, "/home", _CLOSED, filled=False),
    State("var", identity("type", "var"), 1024, None, "/var", _CLOSED),
)
# Mounted before systemd starts, by the initramfs: machine-id and everything that /etc is made from lie there.
EARLY = "var"

# What of /etc outlives a start, below /var/lib/sentry/etc: identities and secrets that cannot be made anew, and nothing that a
# daemon would run. Everything else a break-in writes to /etc is gone after the next start.
KEPT = (
    "group",
    "gshadow",
    "machine-id",
    "passwd",
    "shadow",
    "ssh/ssh_host_ecdsa_key",
    "ssh/ssh_host_ecdsa_key.pub",
    "ssh/ssh_host_rsa_key",
    "ssh/ssh_host_rsa_key.pub",
)

# The kernel lies on the slot's boot partition, which only GRUB and an update touch. What programs see of /boot is the root's
# empty folder, and lends nothing either.
_BOOT = f"/boot /boot none bind,ro,{_CLOSED} 0 0"

SNUG_MIB = 2 + sum(partition.mib for partition in PARTITIONS)  # one MiB before, one after, for the two tables
STATE_MIB = sum(state.least_mib for state in STATE)


def table(version: str, mib: int) -> Table:
    """The partition table of a disk of `mib` MiB; raises `DiskError` when the image does not fit on it."""
    if mib < SNUG_MIB:
        raise DiskError(f"the disk has {mib} MiB, and the layout needs {SNUG_MIB}")
    parts = [(one.kind, identity(version, one.name), one.name, one.mib * MIB) for one in PARTITIONS]
    return gpt.table(identity(version, "disk"), mib * MIB, parts)


def fstab() -> str:
    """What systemd mounts itself: all but `/` and `/var`, which stand already when it starts."""
    lines = [f"PARTLABEL={state.name} {state.place} ext4 {state.options} 0 2" for state in STATE if state.name != EARLY]
    return "\n".join(("# Made from images/disk/layout.py.", *lines, _BOOT, ""))


def repart() -> dict[str, str]:
    """File name -> text, of systemd-repart's definitions (repart.d(5)): in the order of the disk."""
    return {f"{50 + place}-{state.name}.conf": _definition(state) for place, state in enumerate(STATE)}


def _definition(state: State) -> str:
    lines = [
        "[Partition]",
        f"Type={state.kind}",
        f"Label={state.name}",
        "Format=ext4",
        f"SizeMinBytes={state.least_mib}M",
        # No weight and no growing: only the last partition can grow when the disk does.
        *([f"SizeMaxBytes={state.most_mib}M"] if state.most_mib is not None else ["Weight=10000"]),
        *([f"CopyFiles={state.place}:/"] if state.filled else []),
    ]
    inside = [other.place for other in STATE if other.place.startswith(f"{state.place}/")]
    if state.filled:
        # What has a partition of its own is an empty folder here.
        lines += [f"ExcludeFiles={place}/" for place in inside]
    return "\n".join((*lines, ""))
