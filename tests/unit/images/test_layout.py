"""The layout's tables agree with each other, and with what reads them."""

import configparser
from pathlib import Path

import pytest

from images.disk import assemble, grub, layout
from images.disk.layout import KEPT, PARTITIONS, STATE
from images.formats.sparse import MIB, DiskError, blocks
from images.targets import TARGETS, chosen


def test_both_slots_have_the_same_partitions() -> None:
    by_name = {one.name: one for one in PARTITIONS}
    for kind in ("boot", "root"):
        one, other = by_name[f"{kind}_a"], by_name[f"{kind}_b"]
        assert (one.mib, one.kind) == (other.mib, other.kind)
        assert one.content == kind
        assert other.content is None


def test_the_menu_names_the_partitions_where_they_are() -> None:
    for slot, number in grub.PARTITIONS.items():
        assert PARTITIONS[number - 1].name == f"boot_{slot.lower()}"


def test_a_version_has_ids_of_its_own_and_always_the_same() -> None:
    one, again, other = (layout.table(version, layout.SNUG_MIB) for version in ("1.0", "1.0", "1.1"))
    assert one == again
    ids = {one.identity, other.identity, *(entry.identity for table in (one, other) for entry in table.entries)}
    assert len(ids) == 2 + 2 * len(PARTITIONS)


def test_what_the_first_start_makes_is_of_no_type_that_the_image_brings() -> None:
    """systemd-repart would take one for the other."""
    kinds = [state.kind for state in STATE]
    assert len(set(kinds)) == len(kinds)
    assert not set(kinds) & {one.kind for one in PARTITIONS}


def test_only_the_last_partition_grows() -> None:
    assert [state.name for state in STATE if state.most_mib is None] == [STATE[-1].name] == [layout.EARLY]


def test_nothing_on_a_state_partition_is_a_program_or_a_device() -> None:
    for state in STATE:
        assert {"nodev", "nosuid", "noexec"} <= set(state.options.split(","))


def test_systemd_mounts_all_but_what_the_initramfs_has_mounted() -> None:
    *rows, boot = [line.split() for line in layout.fstab().splitlines() if not line.startswith("#")]
    assert boot == ["/boot", "/boot", "none", "bind,ro,nodev,nosuid,noexec", "0", "0"]
    assert [row[1] for row in rows] == [state.place for state in STATE if state.name != "var"]
    assert all(row[0] == f"PARTLABEL={state.name}" for row, state in zip(rows, STATE, strict=False))
    assert {row[2] for row in rows} == {"ext4"}


def test_repart_is_told_the_tables_order_and_sizes() -> None:
    texts = layout.repart()
    assert list(texts) == sorted(texts)
    for state, text in zip(STATE, texts.values(), strict=True):
        said = configparser.ConfigParser(strict=False, interpolation=None)
        said.optionxform = str  # type: ignore[assignment,method-assign]
        said.read_string(text)
        part = said["Partition"]
        assert part["Type"] == str(state.kind)
        assert part["Label"] == state.name
        assert part["SizeMinBytes"] == f"{state.least_mib}M"
        assert part.get("CopyFiles") == (f"{state.place}:/" if state.filled else None)
    assert "ExcludeFiles=/var/log/" in texts["54-var.conf"]
    assert "ExcludeFiles=/var/log/audit/" in texts["50-log.conf"]


def test_what_outlives_a_start_is_nothing_that_a_daemon_would_run() -> None:
    """Units, timers, scripts and configuration are made anew from what was committed."""
    assert tuple(sorted(KEPT)) == KEPT
    assert not [
        name
        for name in KEPT
        if name.startswith("/") or ".." in name or name.split("/")[0] in ("systemd", "pam.d", "cron.d")
    ]


def test_every_targets_disk_has_room_for_the_image_and_its_state() -> None:
    for target in chosen("all"):
        assert not target.disk_gib or target.disk_gib * 1024 >= layout.SNUG_MIB + layout.STATE_MIB


def test_targets_differ_in_data_and_all_have_a_serial_console() -> None:
    assert list(TARGETS) == ["vm", "aws", "azure"]
    for target in chosen("all"):
        assert any(word.startswith("console=ttyS0") for word in target.arguments)
    assert len({target.platform for target in chosen("all")}) == 3
    formats = [one for target in chosen("all") for one in target.formats]
    assert sorted(formats) == ["ova", "qcow2", "raw.zst", "vhd.zst"]


def test_a_disk_that_is_too_small_is_refused() -> None:
    with pytest.raises(DiskError, match=f"the layout needs {layout.SNUG_MIB}"):
        layout.table("1.0", layout.SNUG_MIB - 1)
    layout.table("1.0", layout.SNUG_MIB)


def test_an_assembled_disk_holds_each_content_in_its_partition(tmp_path: Path) -> None:
    contents = {}
    for kind in ("esp", "boot", "root"):
        contents[kind] = tmp_path / kind
        contents[kind].write_bytes(kind.encode() * 1000)
    raw = tmp_path / "raw"
    assemble.write(contents, "1.0", layout.SNUG_MIB, raw)  # type: ignore[arg-type]
    assert raw.stat().st_blocks * 512 < 8 * MIB
    for partition in PARTITIONS:
        assemble.take(raw, partition.name, tmp_path / "taken")
        assert (tmp_path / "taken").stat().st_size == partition.mib * MIB
        wanted = (partition.content or "").encode() * 1000
        with (tmp_path / "taken").open("rb") as file:
            held = list(blocks(file, MIB))
        assert held == ([(0, wanted.ljust(MIB, b"\0"))] if wanted else [])


def test_a_content_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(layout.ESP_MIB * MIB + 1)
    (tmp_path / "other").write_bytes(b"x")
    contents = {"esp": large, "boot": tmp_path / "other", "root": tmp_path / "other"}
    with pytest.raises(DiskError, match="partition esp"):
        assemble.write(contents, "1.0", layout.SNUG_MIB, tmp_path / "raw")  # type: ignore[arg-type]
