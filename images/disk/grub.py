"""What GRUB reads: a menu that nobody sees, which picks a slot, counts its tries, and never waits for a person.

ORDER, A_OK, A_TRY, B_OK, B_TRY are RAUC's words for its GRUB backend. A slot is tried while it is said to be good and its tries
are fewer than three; every start counts, and what runs well sets its own back to none. With no slot left, both are good and are
given their tries again: an appliance that starts badly is worth more than one that does not start, and what the environment said
of the slots may have been lost in a power cut.
GRUB's script has no arithmetic: each count is a row of a table, which is why this text is generated.
"""

from collections.abc import Mapping

TRIES = 3  # a power cut or two before the slot is known to be good shall not cost the slot
DEVICE_SECONDS = 300  # that a disk may take to appear; after that it is another start
CONSOLE_LEVEL = 5  # what is more urgent than a notice (5), as which the kernel prints an audit record
ENVIRONMENT_BYTES = 1024
VARIABLES = ("ORDER", "A_OK", "A_TRY", "B_OK", "B_TRY")
DEFAULTS = {"ORDER": "A B", "A_OK": "1", "A_TRY": "0", "B_OK": "0", "B_TRY": "0"}
PARTITIONS = {"A": 2, "B": 4}  # where a slot's boot partition stands in the table; a test holds it against the layout
SUPERUSER = "root"
# PBKDF2 as grub-mkpasswd-pbkdf2(1) writes it, with a result that no password is known to have.
NO_PASSWORD = f"grub.pbkdf2.sha512.10000.{'00' * 64}.{'00' * 64}"

_HEAD = "# GRUB Environment Block\n"


def environment(values: Mapping[str, str]) -> bytes:
    """A GRUB environment block: 1024 bytes, filled up with `#` (grub-editenv(1))."""
    text = _HEAD + "".join(f"{name}={values[name]}\n" for name in values)
    if len(text) > ENVIRONMENT_BYTES:
        raise ValueError(f"a GRUB environment has {ENVIRONMENT_BYTES} bytes, and these variables take {len(text)}")
    return text.ljust(ENVIRONMENT_BYTES, "#").encode("ascii")


def menu(arguments: tuple[str, ...]) -> str:
    """grub.cfg of the ESP, with what the target gives the kernel; no update writes it anew."""
    words = " ".join(arguments)
    return "\n".join(
        (
            "# Picks a slot; made by images/disk/grub.py.",
            "# Nobody edits what is started, and nobody has a command line: no password gives this hash.",
            f'set superusers="{SUPERUSER}"',
            f"password_pbkdf2 {SUPERUSER} {NO_PASSWORD}",
            "# Defaults come first: a damaged environment must not keep us from starting.",
            'set ORDER="A B"',
            "set A_OK=1",
            "set A_TRY=0",
            "set B_OK=0",
            "set B_TRY=0",
            # GRUB reads no environment that a power cut caught, and counts in none: then the spare one is the one.
            f"if load_env -f ($root)/grubenv {' '.join(VARIABLES)}; then",
            "    set file=grubenv",
            "else",
            "    set file=grubenv2",
            f"    load_env -f ($root)/grubenv2 {' '.join(VARIABLES)}",
            "fi",
            "regexp --set=1:disk '^([^,]+),' \"$root\"",
            "set esp=$root",
            f'set platform_arguments="{words}"',
            'set chosen=""',
            "for slot in $ORDER; do",
            '    if [ -z "$chosen" ]; then',
            *_tries("A"),
            *_tries("B"),
            "    fi",
            "done",
            'if [ -z "$chosen" ]; then',
            '    echo "No slot is left; all get their tries again"',
            "    set A_OK=1",
            "    set A_TRY=0",
            "    set B_OK=1",
            "    set B_TRY=0",
            f"    save_env -f ($esp)/$file {' '.join(VARIABLES)}",
            "    sleep 5",
            "    reboot",
            "fi",
            f"save_env -f ($esp)/$file {' '.join(VARIABLES)}",
            'if [ "$chosen" = A ]; then',
            *_start("A"),
            "else",
            *_start("B"),
            "fi",
            "# Whatever did not start: the count stands, so that the other slot has its turn in the end.",
            "sleep 5",
            "reboot",
            "",
        )
    )


def _tries(slot: str) -> list[str]:
    """Choose the slot if it is its turn, it is good and has a try left; count the try."""
    lines = [f'        if [ "$slot" = {slot} -a "${slot}_OK" = 1 ]; then']
    for count in range(TRIES):
        word = "if" if count == 0 else "elif"
        lines += [
            f'            {word} [ "${slot}_TRY" = {count} ]; then',
            f"                set {slot}_TRY={count + 1}",
            f"                set chosen={slot}",
        ]
    return [*lines, "            fi", "        fi"]


def _start(slot: str) -> list[str]:
    return [
        f'    echo "Sentry starts from slot {slot}, try ${slot}_TRY of {TRIES}"',
        f"    set letter={slot.lower()}",
        f"    set root=$disk,gpt{PARTITIONS[slot]}",
        "    if source ($root)/slot.cfg; then",
        "        boot",
        "    fi",
    ]


def slot(root_hash: str, hash_offset: int) -> str:
    """slot.cfg of a boot partition: which root it belongs to. The same for both slots; the menu says in which one it lies."""
    arguments = (
        "root=/dev/mapper/root",
        "rootfstype=erofs",
        "ro",
        f"roothash={root_hash}",
        "systemd.verity_root_data=/dev/disk/by-partlabel/root_${letter}",
        "systemd.verity_root_hash=/dev/disk/by-partlabel/root_${letter}",
        f"systemd.verity_root_options=hash-offset={hash_offset},panic-on-corruption",
        "sentry.slot=${letter}",
        "rauc.slot=${chosen}",
        # Whatever fails on the way up ends in another start, and is counted.
        "panic=10",
        "rd.shell=0",
        "rd.emergency=reboot",
        # A machine without KVM, on a busy host, has needed two minutes to find its disk.
        f"rd.timeout={DEVICE_SECONDS}",
        f"systemd.default_device_timeout_sec={DEVICE_SECONDS}",
        "systemd.gpt_auto=0",
        # From init on, the console has the kernel's warnings and errors. What is less it has until then; afterwards that is
        # the audit's lines above all, which auditd gets in any case, and each of which a serial line takes its time for.
        f"sysctl.kernel.printk={CONSOLE_LEVEL}",
        *HARDENING,
    )
    return f"linux ($root)/vmlinuz {' '.join(arguments)} ${{platform_arguments}}\ninitrd ($root)/initrd.img\n"


# What the platform's STIG asks of the kernel's command line: auditing from the first process on, no stale memory, no vsyscalls.
HARDENING = (
    "audit=1",
    "audit_backlog_limit=8192",
    "apparmor=1",
    "security=apparmor",
    "page_poison=1",
    "init_on_alloc=1",
    "init_on_free=1",
    "slab_nomerge",
    "vsyscall=none",
    "pti=on",
)
