"""A build is refused for what it cannot be made of before anything is touched, and ends in order whoever wants it to."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from images.builder import inputs
from images.builder.build import Places
from images.builder.fate import EndedError, in_order
from images.builder.guest import LINK, PACKAGES, image_tree
from images.builder.inputs import BuildError, asked, check_machine
from images.builder.ship import Shipping, ship
from images.disk import stages
from images.formats.sparse import MIB
from images.lab.zones import ZONES
from images.paths import REPO, Layout
from images.run import run
from images.targets import TARGETS
from images.toolbox import Here
from tests.unit.images import disks

SECONDS = 30.0  # a process that is told to end does so in milliseconds


def test_all_is_every_target_and_each_has_its_word() -> None:
    assert [target.name for target in asked("all", "1.0", None, None).targets] == list(TARGETS)
    assert [target.name for target in asked("aws", "1.0", None, None).targets] == ["aws"]
    with pytest.raises(BuildError, match="target gcp: allowed are vm, aws, azure and all"):
        asked("gcp", "1.0", None, None)


@pytest.mark.parametrize("version", ["1.0", "0.1.0", "2025.11.26", "1.2.3-rc1", "1.2~beta.2"])
def test_a_version_is_numbers_and_perhaps_a_word(version: str) -> None:
    assert asked("vm", version, None, None).version == version


@pytest.mark.parametrize("version", ["1", "1.0/../..", "1.0 ", "v1.0", "1.0-" + "a" * 40, "1.0\n", "-1.0"])
def test_what_could_not_stand_in_a_file_name_is_no_version(version: str) -> None:
    with pytest.raises(BuildError, match="must be numbers with dots"):
        asked("vm", version, None, None)


def test_without_a_version_it_is_the_projects() -> None:
    assert f'version = "{asked("vm", None, None, None).version}"' in (REPO / "pyproject.toml").read_text()


def test_results_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="there is no such file"):
        asked("vm", "1.0", None, tmp_path / "results.json")


def test_a_missing_tool_is_named_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"not installed here: mmdebstrap, systemd-nspawn.*\.ci/setup"):
        check_machine(tmp_path / "build")


def test_too_little_room_is_said_with_how_much_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "NEEDED_GIB", 1 << 20)
    with pytest.raises(BuildError, match=r"GiB are free, and a build needs 1048576"):
        check_machine(tmp_path / "build")


def test_the_images_tree_is_the_appliances_and_a_kernel() -> None:
    packages = image_tree().packages
    assert set(PACKAGES) < set(packages)
    assert "openssl-provider-fips" in packages
    assert packages == tuple(sorted(packages))


def test_a_build_and_a_lab_can_be_on_one_machine() -> None:
    taken = {zone.link.host_interface for zone in ZONES} | {zone.link.host_address for zone in ZONES}
    assert not taken & {LINK.host_interface, LINK.host_address}
    assert len(LINK.host_interface) <= 15  # the kernel's limit


def test_what_is_being_made_is_apart_from_what_ships(tmp_path: Path) -> None:
    places = Places(Layout(tmp_path), "1.0")
    assert places.final == tmp_path / "images" / "1.0"
    assert places.work in places.output.parents
    assert places.work not in places.final.parents


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("vm", ["sentry-1.0.qcow2", "sentry-1.0.ova"]),
        ("aws", ["sentry-1.0.raw.zst", "sentry-1.0.aws.json"]),
        ("azure", ["sentry-1.0.vhd.zst"]),
    ],
)
def test_a_target_ships_its_files_and_the_same_bytes_each_time(tmp_path: Path, target: str, names: list[str]) -> None:
    """From one raw disk; nothing but what ships is left beside it."""
    for turn in ("one", "two"):
        folder = tmp_path / turn
        (folder / "output").mkdir(parents=True)
        raw = disks.lively(folder / "sentry-1.0.raw")
        shipped = ship(TARGETS[target], Shipping("1.0", raw, folder / "output", Here()))
        assert [one.name for one in shipped] == names
        assert sorted(path.name for path in folder.iterdir()) == ["output", "sentry-1.0.raw"]
    for name in names:
        assert (tmp_path / "one/output" / name).read_bytes() == (tmp_path / "two/output" / name).read_bytes(), name


def test_the_disk_in_the_ova_is_the_raw_disk(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    raw = disks.lively(tmp_path / "sentry-1.0.raw")
    ship(TARGETS["vm"], Shipping("1.0", raw, tmp_path / "output", Here()))
    run(["tar", "--extract", f"--file={tmp_path}/output/sentry-1.0.ova", f"--directory={tmp_path}"])
    compared = run(["qemu-img", "compare", "-f", "raw", "-F", "vmdk", raw, tmp_path / "sentry-1.0-disk1.vmdk"])
    assert "identical" in compared.stdout
    assert raw.stat().st_size == 70 * MIB


def test_a_tree_must_have_one_kernel(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    with pytest.raises(stages.StageError, match="found none"):
        stages.kernel_version(tmp_path)
    (tmp_path / "boot/vmlinuz-6.1").touch()
    assert stages.kernel_version(tmp_path) == "6.1"
    (tmp_path / "boot/vmlinuz-6.2").touch()
    with pytest.raises(stages.StageError, match=r"found 6\.1, 6\.2"):
        stages.kernel_version(tmp_path)


def ended_by(signalling: Callable[[], None], process: int | None) -> None:
    """What is at work when somebody wants it to end."""
    with in_order(process):
        signalling()
        time.sleep(SECONDS)


def test_a_signal_ends_a_build_in_order() -> None:
    with pytest.raises(EndedError, match="SIGTERM"):
        ended_by(lambda: os.kill(os.getpid(), signal.SIGTERM), None)


def test_a_build_ends_in_order_when_whoever_wants_it_is_gone() -> None:
    with subprocess.Popen(["sleep", "600"]) as wanting, pytest.raises(EndedError, match="SIGTERM"):
        ended_by(wanting.kill, wanting.pid)


def test_afterwards_signals_are_handled_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with in_order(None):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def playbook(*words: str) -> subprocess.CompletedProcess[str]:
    """playbooks/build.yml with these words."""
    program = Path(sys.executable).with_name("ansible-playbook")
    argv: list[str | Path] = [
        program,
        "-i",
        "localhost,",
        "playbooks/build.yml",
        *(part for word in words for part in ("-e", word)),
    ]
    return subprocess.run(argv, cwd=REPO, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("word", ["target=gcp", "target=", "other=1"])
def test_the_playbook_refuses_a_target_that_is_none(word: str) -> None:
    done = playbook(word)
    assert done.returncode != 0
    assert "say -e target=vm, aws, azure or all" in done.stdout


def test_the_playbook_says_what_the_builder_says(tmp_path: Path) -> None:
    """A wrong version gets as far as the builder, and its message back."""
    done = playbook("target=vm", "version=latest", f"build_log={tmp_path}/build.log")
    assert done.returncode != 0
    assert "version latest: must be numbers with dots" in done.stdout


def test_the_command_prints_errors_to_standard_error_and_nothing_else(tmp_path: Path) -> None:
    done = run([sys.executable, "-m", "images.builder", "--target", "gcp"], cwd=REPO, check=False)
    assert done.code == 1
    assert done.stdout == ""
    assert "target gcp" in done.stderr
