"""RAUC itself, on a bus of its own, with GRUB's environment as a file: what our units tell it, and who may tell it anything."""

import json
from pathlib import Path

import pytest

from appliance.software import environment, spool
from images import rootfs
from images.disk import grub
from images.disk.stages import FILES
from images.paths import Layout, write_file
from images.rootfs import Tree
from images.toolbox import Inside
from images.updates import machine

pytestmark = pytest.mark.appliance  # root, and the trees that it has had made

TREE = Tree("trixie", ("dbus", "grub-common", "mount", "rauc", "rauc-service"))
START = """\
set -eu
mount --bind /w/cmdline /proc/cmdline
mkdir -p /usr/lib/rauc /efi /run/dbus /run/rauc/mnt /var/lib/sentry/rauc /etc/dbus-1/system.d
cp /w/system.conf /usr/lib/rauc/
cp /w/policy.conf /etc/dbus-1/system.d/60-sentry-rauc.conf
cp /w/grubenv /efi/
dbus-daemon --system --fork
rauc --mount=/run/rauc/mnt service >/dev/null 2>&1 &
for _ in $(seq 300); do
    dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner \\
        string:de.pengutronix.rauc | grep -q true && break
    sleep 0.1
done
"""
TOLD = "rauc status --output-format=json 2>/dev/null; echo; grub-editenv /efi/grubenv list"


class Slots:
    """A machine that runs from slot a; each run begins with the environment that was written before."""

    def __init__(self, root: Path, work: Path) -> None:
        self._tools = Inside(root, scratch=True, binds={"/w": work})
        self.work = work
        write_file(work / "cmdline", "ro sentry.slot=a rauc.slot=A\n")
        write_file(work / "system.conf", machine.system_conf(keyring=Path("/w/none.pem")))
        write_file(work / "policy.conf", (FILES / "rauc-bus.conf").read_text())

    def environment(self, **values: str) -> None:
        """GRUB's environment."""
        (self.work / "grubenv").write_bytes(grub.environment({**grub.DEFAULTS, **values}))

    def after(self, *commands: str) -> dict[str, str]:
        """GRUB's environment after these commands; `booted` is what RAUC takes for the slot that runs."""
        said = self._tools.run(["bash", "-c", "\n".join((START, *commands, TOLD))]).stdout
        status, _, environment = said.partition("}\n")
        found = dict(line.split("=", 1) for line in environment.splitlines() if "=" in line)
        return {**found, "booted": json.loads(f"{status[status.index('{') :]}}}")["booted"]}


@pytest.fixture(scope="module")
def root(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian 13 with RAUC and GRUB's tools."""
    place = tmp_path_factory.mktemp("rauc") / "tree"
    rootfs.extract(rootfs.build(TREE, layout.trees), place)
    return place


@pytest.fixture
def slots(root: Path, tmp_path: Path) -> Slots:
    return Slots(root, tmp_path)


def test_the_slot_that_the_menu_named_is_the_one_that_runs_and_its_count_begins_anew(slots: Slots) -> None:
    slots.environment(A_TRY="2")
    found = slots.after("rauc status mark-good booted")
    assert (found["booted"], found["A_OK"], found["A_TRY"]) == ("A", "1", "0")


def test_after_a_fall_back_the_other_slot_is_bad_and_this_one_is_first(slots: Slots) -> None:
    """The very orders of `appliance.software.marking`."""
    slots.environment(ORDER="B A", A_TRY="1", B_OK="1", B_TRY="3")
    found = slots.after("rauc status mark-good booted", "rauc status mark-bad other", "rauc status mark-active booted")
    assert (found["ORDER"], found["A_OK"], found["A_TRY"], found["B_OK"]) == ("A B", "1", "0", "0")


def test_the_way_back_is_first_and_has_all_its_tries(slots: Slots) -> None:
    slots.environment(B_OK="0", B_TRY="3")
    found = slots.after("rauc status mark-active other")
    assert (found["ORDER"], found["B_OK"], found["B_TRY"]) == ("B A", "1", "0")


def test_an_environment_that_a_power_cut_emptied_is_mended_before_rauc_is_asked(slots: Slots) -> None:
    """RAUC's tool refuses to write to it for ever after; mended, it is one like any other."""
    (slots.work / "grubenv").write_bytes(b"")
    (slots.work / "esp").mkdir()
    assert environment.mend(slots.work / "esp", spool.Slots(next="a"), "a")
    refused = "if rauc status mark-good booted >/dev/null 2>&1; then exit 1; fi"
    found = slots.after(refused, "cp /w/esp/grubenv /efi/", "rauc status mark-good booted")
    assert (found["booted"], found["ORDER"], found["A_OK"], found["B_OK"]) == ("A", "A B", "1", "0")


def test_no_other_account_tells_rauc_anything(slots: Slots) -> None:
    """The package's own policy lets anybody mark the running slot as bad."""
    slots.environment()
    nobody = "setpriv --reuid=65534 --clear-groups rauc status mark-bad booted"
    found = slots.after(f"if {nobody} >/dev/null 2>&1; then exit 1; fi")
    assert found["A_OK"] == "1"
    slots.work.joinpath("policy.conf").write_text("<busconfig/>")
    assert slots.after(f"{nobody} >/dev/null 2>&1")["A_OK"] == "0"
