"""How the rules that only a machine with a kernel of its own shows are broken: by what somebody who has its disk changes while
it is off. Nothing of it is signed (docs/images.md): the menu on the ESP, what it gives the kernel, and the initramfs.

One start of a machine that is changed so shows all of them open.
"""

from collections.abc import Iterable

from images.disk import layout
from images.disk.stages import DRACUT_MODULE, FILES
from images.run import run
from tests.boot.machine import Machine

ARGUMENTS = {
    "SENTRY-OS-0946": "apparmor=0",
    "SENTRY-OS-1201": "audit=0",
    "SENTRY-OS-1202": "audit_backlog_limit=64",
    "SENTRY-OS-1203": "vsyscall=xonly",
    "SENTRY-OS-1204": "init_on_free=0",
}
"""Arguments of the kernel, which come after the image's own: of two the kernel takes the last one."""

FILE_SYSTEMS = frozenset(f"SENTRY-OS-{number:04}" for number in (423, *range(642, 649)))
"""Broken by the initramfs, which mounts /var and makes /etc: /dev/shm stays as systemd mounts it, and the fstab is another."""

MENU = frozenset({"SENTRY-OS-1205"})
"""Broken by a menu without its password."""

BROKEN = frozenset(ARGUMENTS) | FILE_SYSTEMS | MENU

ESP = "esp"
MENUS = ("EFI/debian/grub.cfg", "EFI/BOOT/grub.cfg")
STATE = "sentry-state"
GUARDS = ("set superusers=", "password_pbkdf2 ")
CLOSED = "nodev,nosuid,noexec"
SHARED_MEMORY = f"mount -o remount,{CLOSED} /dev/shm\n"
AUDIT = "/var/log/audit"


def change(machine: Machine) -> None:
    """Break all of them on the disk of a machine that is off."""
    esp, folder = machine.partition(ESP), machine.folder
    menu = run(["mtype", "-i", esp, f"::{MENUS[0]}"]).stdout
    texts = {name: without_password(with_words(menu, ARGUMENTS.values())) for name in MENUS}
    texts[STATE] = state((FILES / DRACUT_MODULE / STATE).read_text(encoding="utf-8"))
    for name, text in texts.items():
        changed = folder / "changed"
        changed.write_text(text, encoding="utf-8")
        run(["mcopy", "-o", "-i", esp, changed, f"::{name}"])
    machine.put(ESP, esp)


def without_password(menu: str) -> str:
    """The menu, which whoever stands at the console may edit now."""
    return "".join(line for line in menu.splitlines(keepends=True) if not line.startswith(GUARDS))


def with_words(menu: str, words: Iterable[str]) -> str:
    """The menu with more words for the kernel, and with a second initramfs behind the slot's, whose files take the place of the
    first one's (initramfs buffer format, Documentation/driver-api/early-userspace)."""
    given = 'set platform_arguments="'
    behind = f"initrd ($root)/initrd.img newc:usr/bin/{STATE}:($esp)/{STATE}"
    return swapped(
        swapped(menu, given, f"{given}{' '.join(words)} "), "        boot\n", f"        {behind}\n        boot\n"
    )


def state(script: str) -> str:
    """The script of the initramfs (images/disk/files/90sentry-state) without care for /dev/shm, and with a list of file systems
    of its own."""
    return f"{swapped(script, SHARED_MEMORY, '')}cat >\"$new/etc/fstab\" <<'EOF'\n{fstab()}EOF\n"


def fstab() -> str:
    """The image's, but none has options that close it, and the audit's records lie among other logs."""
    lines = [line for line in layout.fstab().splitlines(keepends=True) if f" {AUDIT} " not in line]
    return swapped("".join(lines), CLOSED, "defaults")


def swapped(text: str, old: str, new: str) -> str:
    """The text with another for each of these, of which there must be some."""
    assert old in text, f"there is no {old!r} in it"
    return text.replace(old, new)
