"""The menu picks slots as it should: its very text is run, by bash, with GRUB's few commands as functions.

GRUB's language is a shell's but for `set`, devices in brackets and `regexp`; those are rewritten before, and nothing else.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from images.disk import grub
from images.disk.grub import DEFAULTS, TRIES
from images.run import run

COMMANDS = """
whole() { [ -f "$1" ] && [ "$(stat -c %s "$1")" = 1024 ] && [ "$(head -n 1 "$1" | tr -d "\\0")" = "# GRUB Environment Block" ]; }
load_env() {
    whole "$FOLDER/$2" || return 1
    for word in "${@:3}"; do line=$(grep "^$word=" "$FOLDER/$2") && eval "${line%%=*}='${line#*=}'"; done
    return 0
}
save_env() {
    whole "$FOLDER/$2" || return 1
    { echo "# GRUB Environment Block"; for word in "${@:3}"; do echo "$word=${!word}"; done; } >"$FOLDER/new"
    head -c $((1024 - $(stat -c %s "$FOLDER/new"))) /dev/zero | tr '\\0' '#' >>"$FOLDER/new"
    mv "$FOLDER/new" "$FOLDER/$2"
}
source_slot() { case " $BROKEN " in *" $1 "*) return 1 ;; esac; }
boot() { echo "BOOT slot=$letter root=$root"; exit 0; }
reboot() { echo REBOOT; exit 0; }
sleep() { :; }
password_pbkdf2() { :; }
root=hd0,gpt1
"""


@dataclass
class Machine:
    """A machine with an ESP that keeps its environment, and slots that GRUB can read or not."""

    folder: Path
    broken: set[str] = field(default_factory=set)

    @property
    def environment(self) -> Path:
        return self.folder / "grubenv"

    def write(self, **values: str) -> None:
        self.environment.write_bytes(grub.environment({**DEFAULTS, **values}))

    def spare(self, **values: str) -> None:
        """The copy that was made when a slot last ran well."""
        (self.folder / "grubenv2").write_bytes(grub.environment({**DEFAULTS, **values}))

    def read(self) -> dict[str, str]:
        lines = self.environment.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    def start(self) -> str:
        """Which partition GRUB boots from, or REBOOT."""
        script = run(["bash", "-c", COMMANDS + as_bash(grub.menu(("console=ttyS0",)))],
                     env={"FOLDER": str(self.folder), "BROKEN": " ".join(self.broken)})  # fmt: skip
        assert script.stderr == ""
        return script.stdout.splitlines()[-1]

    def good(self) -> None:
        """What an appliance says of the slot that it runs from, once it is well."""
        values = self.read()
        slot = values["ORDER"].split()[0]
        self.write(**{**values, f"{slot}_TRY": "0", f"{slot}_OK": "1"})


def test_nobody_edits_what_is_started_and_the_scanner_sees_it() -> None:
    """The lines that `stig scan` looks for, before anything else happens; the hash has the form that GRUB reads."""
    lines = [line for line in grub.menu(()).splitlines() if not line.startswith("#")]
    assert lines[0] == 'set superusers="root"'
    assert re.fullmatch(r"password_pbkdf2 root grub\.pbkdf2\.sha512\.10000\.[0-9A-F]{128}\.[0-9A-F]{128}", lines[1])


def as_bash(menu: str) -> str:
    text = re.sub(r"^(\s*)set (\w+)=", r"\1\2=", menu, flags=re.MULTILINE)
    text = text.replace("source ($root)/slot.cfg", 'source_slot "$root"')
    text = re.sub(r"\(\$(root|esp)\)/", "", text)
    changed = text.replace("regexp --set=1:disk '^([^,]+),' \"$root\"", "disk=${root%%,*}")
    assert changed != text
    return changed


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.write()
    made.spare()
    return made


def test_a_fresh_image_starts_slot_a_and_counts_the_try(machine: Machine) -> None:
    assert machine.start() == "BOOT slot=a root=hd0,gpt2"
    assert machine.read()["A_TRY"] == "1"


def test_a_slot_that_is_never_marked_good_is_tried_three_times_then_the_other(machine: Machine) -> None:
    """An update into b that does not come up: back to a by itself."""
    machine.write(ORDER="B A", B_OK="1")
    begun = [machine.start() for _ in range(TRIES + 1)]
    assert begun == ["BOOT slot=b root=hd0,gpt4"] * TRIES + ["BOOT slot=a root=hd0,gpt2"]
    assert machine.read() == {"ORDER": "B A", "A_OK": "1", "A_TRY": "1", "B_OK": "1", "B_TRY": "3"}


def test_a_slot_that_was_marked_good_is_tried_anew(machine: Machine) -> None:
    machine.write(ORDER="B A", B_OK="1", B_TRY="2")
    assert machine.start().startswith("BOOT slot=b")
    machine.good()
    assert [machine.start() for _ in range(TRIES)] == ["BOOT slot=b root=hd0,gpt4"] * TRIES


def test_a_slot_that_is_not_good_is_passed_over(machine: Machine) -> None:
    """The empty slot of a fresh image, even when it is first in order."""
    machine.write(ORDER="B A", B_OK="0")
    assert machine.start().startswith("BOOT slot=a")


def test_a_slot_that_grub_cannot_read_is_counted_like_any_other(machine: Machine) -> None:
    machine.broken = {"hd0,gpt4"}
    machine.write(ORDER="B A", B_OK="1")
    assert [machine.start() for _ in range(TRIES + 1)] == ["REBOOT"] * TRIES + ["BOOT slot=a root=hd0,gpt2"]


def test_with_no_try_left_all_get_theirs_again(machine: Machine) -> None:
    machine.write(A_TRY="3", B_OK="1", B_TRY="3")
    assert machine.start() == "REBOOT"
    assert machine.start().startswith("BOOT slot=a")


@pytest.mark.parametrize("content", [b"", b"\0" * 1024, b"# GRUB Environment Block\nA_TRY=\n", b"rubbish"])
def test_a_damaged_environment_does_not_keep_it_from_starting(machine: Machine, content: bytes) -> None:
    """The file is rewritten in place on FAT, which a power cut can catch."""
    machine.environment.write_bytes(content)
    begun = [machine.start() for _ in range(2)]
    assert any(line.startswith("BOOT slot=a") for line in begun)


def test_a_lost_environment_costs_no_slot(machine: Machine) -> None:
    """Slot b runs, a holds half an update, and a power cut catches the environment: what ran well last runs again."""
    machine.environment.write_bytes(b"")
    machine.spare(ORDER="B A", B_OK="1")
    machine.broken = {"hd0,gpt2"}
    assert machine.start() == "BOOT slot=b root=hd0,gpt4"


def test_tries_are_counted_in_the_spare_environment_too(machine: Machine) -> None:
    """Else a slot that does not come up would be tried for ever."""
    machine.environment.write_bytes(b"")
    machine.spare(ORDER="B A", B_OK="1")
    begun = [machine.start() for _ in range(TRIES + 1)]
    assert begun == ["BOOT slot=b root=hd0,gpt4"] * TRIES + ["BOOT slot=a root=hd0,gpt2"]


def test_with_no_try_left_a_slot_that_was_said_to_be_bad_has_its_turn(machine: Machine) -> None:
    machine.write(A_TRY="3", B_OK="0")
    machine.broken = {"hd0,gpt2"}
    begun = [machine.start() for _ in range(TRIES + 2)]
    assert begun == ["REBOOT"] * (TRIES + 1) + ["BOOT slot=b root=hd0,gpt4"]


def test_the_environment_is_1024_bytes_and_refuses_more() -> None:
    block = grub.environment(DEFAULTS)
    assert len(block) == 1024
    assert block.startswith(b"# GRUB Environment Block\nORDER=A B\nA_OK=1\n")
    assert block.endswith(b"#")
    with pytest.raises(ValueError, match="1024"):
        grub.environment({"ORDER": "A" * 1000})


def test_a_slot_names_its_root_hash_and_reboots_on_any_failure() -> None:
    text = grub.slot("ab" * 32, 4096)
    linux, initrd = text.splitlines()
    words = linux.split()
    assert words[:2] == ["linux", "($root)/vmlinuz"]
    assert f"roothash={'ab' * 32}" in words
    assert "systemd.verity_root_options=hash-offset=4096,panic-on-corruption" in words
    assert {"panic=10", "rd.emergency=reboot", "rd.shell=0"} <= set(words)
    assert "sysctl.kernel.printk=5" in words  # the console hears no audit records, and all that is worse
    assert not {"quiet", "loglevel"} & {word.split("=")[0] for word in words}
    assert words[-1] == "${platform_arguments}"
    assert initrd == "initrd ($root)/initrd.img"
