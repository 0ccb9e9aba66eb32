"""What tests/boot changes on a machine that is off breaks the rules it is said to break, by the scan's own judges."""

import pytest

from images.disk import grub, layout
from images.disk.stages import DRACUT_MODULE, FILES
from tests.boot import kernel_breaks
from tests.boot.kernel_breaks import ARGUMENTS, BROKEN, FILE_SYSTEMS, MENU, SHARED_MEMORY, STATE
from tests.unit.stig.fact_breaks import NO_CONTAINER, Texts, ended, hardened

MADE = grub.menu(("console=ttyS0",))
CHANGED = kernel_breaks.with_words(MADE, ARGUMENTS.values())
SCRIPT = (FILES / DRACUT_MODULE / STATE).read_text(encoding="utf-8")


def arguments(menu: str) -> str:
    """The kernel's command line: the slot's words, and behind them the menu's."""
    (line,) = [line for line in menu.splitlines() if line.startswith("set platform_arguments=")]
    words = line.partition("=")[2].strip('"')
    return grub.slot("0" * 64, 0).splitlines()[0].replace("${platform_arguments}", words)


def mounts(script: str, fstab: str) -> str:
    """/proc/1/mounts after the initramfs has run this script, and systemd has read this list."""
    memory = "nosuid,nodev,noexec" if SHARED_MEMORY in script else "nosuid,nodev"
    own = {"/dev/shm": memory, "/tmp": kernel_breaks.CLOSED, "/var": kernel_breaks.CLOSED}
    rows = [line.split() for line in fstab.splitlines() if not line.startswith("#")]
    return "".join(
        f"any {place} any {options} 0 0\n" for place, options in (own | {row[1]: row[3] for row in rows}).items()
    )


def found(texts: Texts) -> dict[str, str]:
    """What each of these rules ends as."""
    return {rule: ended(rule, texts, NO_CONTAINER) for rule in BROKEN}


@pytest.fixture(scope="module")
def good() -> Texts:
    """What a machine answers that starts by the image's own menu, initramfs and list of file systems."""
    made = {"kernel_arguments": arguments(MADE), "boot_menu": MADE, "mounts": mounts(SCRIPT, layout.fstab())}
    return hardened() | made


def test_as_the_image_is_made_none_is_open(good: Texts) -> None:
    assert found(good) == dict.fromkeys(BROKEN, "not_a_finding")


def test_the_arguments_break_theirs_and_no_others(good: Texts) -> None:
    """Each comes after the image's own, of which the kernel and the scan take the last one. AppArmor's switch is the kernel's."""
    status = found(good | {"kernel_arguments": arguments(CHANGED), "boot_menu": CHANGED, "apparmor": "N\n"})
    assert {rule for rule, one in status.items() if one == "open"} == ARGUMENTS.keys()


def test_the_menu_without_its_password_breaks_its_rule_and_no_other(good: Texts) -> None:
    status = found(good | {"boot_menu": kernel_breaks.without_password(MADE)})
    assert {rule for rule, one in status.items() if one == "open"} == MENU


def test_the_initramfs_breaks_the_rules_of_file_systems_and_no_others(good: Texts) -> None:
    script = kernel_breaks.state(SCRIPT)
    status = found(good | {"mounts": mounts(script, kernel_breaks.fstab())})
    assert {rule for rule, one in status.items() if one == "open"} == FILE_SYSTEMS
    assert kernel_breaks.fstab() in script


def test_both_slots_start_with_the_other_initramfs_behind_their_own() -> None:
    assert CHANGED.count(f"initrd ($root)/initrd.img newc:usr/bin/{STATE}:($esp)/{STATE}\n        boot\n") == 2
    assert kernel_breaks.without_password(CHANGED).count("boot\n") == CHANGED.count("boot\n")


def test_what_is_not_there_to_be_changed_is_an_error() -> None:
    """A menu of another form would else be left as it is, and nothing be broken."""
    with pytest.raises(AssertionError, match="there is no"):
        kernel_breaks.with_words("", ARGUMENTS.values())
    with pytest.raises(AssertionError, match="there is no"):
        kernel_breaks.state("")
