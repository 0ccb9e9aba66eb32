"""A small tree becomes a disk with the tools of the build, is read back and verified, and is the same bytes when made again."""

import shutil
import subprocess
from pathlib import Path

import pytest

from images import toolbox
from images.disk import assemble, gpt, layout, stages
from images.disk.stages import Root
from images.formats.sparse import MIB, DiskError, blocks
from images.paths import Layout
from images.run import CommandError
from images.seal import reading
from images.targets import TARGETS
from images.toolbox import Inside

pytestmark = pytest.mark.appliance  # root, and the trees that it has had made

VERSION = "9.8.7"


@pytest.fixture(scope="module")
def tools(layout: Layout) -> Inside:
    """The tree of the tools."""
    return toolbox.ensure(layout.build / "images")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with what a root has: modes, owners, links, a kernel that must not get into the root."""
    root = tmp_path_factory.mktemp("tree") / "tree"
    for name in ("boot", "etc", "proc", "tmp", "usr/bin", "var/log"):
        (root / name).mkdir(parents=True)
    (root / "boot/vmlinuz-6.1").write_text("kernel")
    (root / "etc/shadow").write_text("root:*:20332::::::\n")
    (root / "etc/shadow").chmod(0o640)
    shutil.chown(root / "etc/shadow", 0, 42)
    (root / "usr/bin/tool").write_bytes(b"tool" * 50_000)
    (root / "usr/bin/tool").chmod(0o755)
    (root / "usr/bin/link").symlink_to("tool")
    (root / "tmp/leftover").write_text("x")
    return root


def make(tree: Path, folder: Path, tools: Inside) -> tuple[Path, Root]:
    """The whole way from the tree to the raw disk."""
    folder.mkdir()
    made = stages.root(tree, folder, VERSION, tools)
    (folder / "initrd.img").write_bytes(b"initramfs")
    boot = stages.boot(tree / "boot/vmlinuz-6.1", folder / "initrd.img", made, folder, tools)
    esp = stages.esp(TARGETS["aws"], VERSION, folder, tools)
    raw = folder / "disk.raw"
    assemble.write({"esp": esp, "boot": boot, "root": made.image}, VERSION, layout.SNUG_MIB, raw)
    return raw, made


@pytest.fixture(scope="module")
def disk(tree: Path, tools: Inside, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Root]:
    """The tree as a disk."""
    return make(tree, tmp_path_factory.mktemp("disk") / "one", tools)


def test_what_is_read_back_is_the_tree(disk: tuple[Path, Root], tools: Inside, tmp_path: Path) -> None:
    """With owners, modes and links; and what is not of the root is not there."""
    found = reading.read(disk[0], tmp_path / "work", tools)
    assert found.root.root_hash == disk[1].root_hash
    assert (found.tree / "usr/bin/tool").read_bytes() == b"tool" * 50_000
    shadow = (found.tree / "etc/shadow").stat()
    assert (shadow.st_mode & 0o7777, shadow.st_uid, shadow.st_gid) == (0o640, 0, 42)
    assert (found.tree / "usr/bin/link").readlink() == Path("tool")
    assert list((found.tree / "boot").iterdir()) == []
    assert list((found.tree / "tmp").iterdir()) == []


def test_the_same_tree_gives_the_same_bytes(disk: tuple[Path, Root], tree: Path, tools: Inside, tmp_path: Path) -> None:
    """Though its files have other dates by then."""
    (tree / "usr/bin/tool").touch()
    again, _ = make(tree, tmp_path / "two", tools)
    assert subprocess.run(["cmp", again, disk[0]], check=False).returncode == 0


def test_one_changed_byte_of_the_root_is_found(disk: tuple[Path, Root], tools: Inside, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt.raw"
    subprocess.run(["cp", "--sparse=always", disk[0], spoilt], check=True)
    with spoilt.open("r+b") as file:
        entry = gpt.read(file, spoilt.stat().st_size).entry("root_a")
        file.seek(entry.offset + 5000)
        byte = file.read(1)
        file.seek(entry.offset + 5000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(CommandError, match="veritysetup verify"):
        reading.read(spoilt, tmp_path / "work", tools)


def test_the_firmware_finds_debians_signed_programs_and_the_targets_menu(
    disk: tuple[Path, Root], tools: Inside, tmp_path: Path
) -> None:
    esp = tmp_path / "esp.img"
    assemble.take(disk[0], "esp", esp)
    for name, source in (("BOOTX64.EFI", stages.SHIM), ("grubx64.efi", stages.GRUB)):
        got = tmp_path / name
        tools.run(["mcopy", "-i", str(esp), f"::EFI/BOOT/{name}", str(got)], makes=(tmp_path,))
        assert got.read_bytes() == tools.file(source).read_bytes()
    menu = tools.run(["mtype", "-i", str(esp), "::EFI/debian/grub.cfg"], sees=(tmp_path,)).stdout
    assert "sentry.platform=ec2" in menu
    assert "nvme_core.io_timeout" in menu
    environment = tools.run(["mtype", "-i", str(esp), "::grubenv"], sees=(tmp_path,)).stdout
    assert len(environment) == 1024


def test_the_second_slot_is_empty(disk: tuple[Path, Root], tmp_path: Path) -> None:
    for name in ("boot_b", "root_b"):
        assemble.take(disk[0], name, tmp_path / name)
        with (tmp_path / name).open("rb") as file:
            assert list(blocks(file, MIB)) == []


def test_a_root_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "root.img"
    with large.open("wb") as file:
        file.truncate((layout.ROOT_MIB + 1) << 20)
    with pytest.raises(DiskError, match="the root takes 1025 MiB, and its partition has 1024"):
        stages.fits(large, layout.ROOT_MIB, "the root")


def test_tools_reach_no_network_and_write_only_where_they_may(tools: Inside, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    interfaces = tools.run(["ls", "/sys/class/net"]).stdout.split()
    assert interfaces in ([], ["lo"])
    for place in (tmp_path / "in", Path("/usr/bin")):
        with pytest.raises(CommandError):
            tools.run(["touch", f"{place}/x"], sees=(tmp_path / "in",), makes=(tmp_path / "out",))
    tools.run(["touch", f"{tmp_path}/out/x"], makes=(tmp_path / "out",))
    assert (tmp_path / "out/x").exists()
