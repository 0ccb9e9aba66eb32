"""Root trees are kept by the digest of their inputs, whole or not at all."""

import fcntl
from dataclasses import replace
from pathlib import Path

import pytest

from images.rootfs import KEEP, Tree, TreeError, appliance_tree, build
from images.run import CommandError

TREE = Tree("trixie", ("openssh-server", "systemd"))


def test_the_digest_depends_on_every_input() -> None:
    """Suite, packages, hooks and recipe each make another tree."""
    others = [
        replace(TREE, suite="bookworm"),
        replace(TREE, packages=(*TREE.packages, "sudo")),
        replace(TREE, hooks=()),
        replace(TREE, recipe=TREE.recipe + 1),
    ]
    assert len({tree.digest for tree in (TREE, *others)}) == 5
    assert replace(TREE).digest == TREE.digest


def test_the_appliances_packages_come_from_the_base_role(tmp_path: Path) -> None:
    """Order and repetition in the role's list make no other tree."""
    variables = tmp_path / "main.yml"
    variables.write_text("base_packages: [systemd, openssh-server, systemd]\n")
    assert appliance_tree(variables) == TREE


@pytest.mark.parametrize("text", ["{}", "base_packages:", "base_packages: [1]", "base_packages: []", "- a list"])
def test_a_package_list_that_is_none_is_refused_with_its_file(tmp_path: Path, text: str) -> None:
    """The message says which file must hold what."""
    variables = tmp_path / "main.yml"
    variables.write_text(text)
    with pytest.raises(TreeError, match=r"main\.yml.*base_packages"):
        appliance_tree(variables)


@pytest.fixture
def mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program named mmdebstrap first on PATH that writes to its target and then does what the file `fate` says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "mmdebstrap"
    program.write_text(
        "#!/bin/sh\nfor word; do case $word in *.tar) target=$word;; esac; done\n"
        f'echo "$@" >>{folder}/calls\necho partial >"$target"\nexit "$(cat {folder}/fate)"\n'
    )
    program.chmod(0o755)
    (folder / "fate").write_text("0")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_a_tree_is_built_once(mmdebstrap: Path, tmp_path: Path) -> None:
    """The second time the tar file is simply there."""
    first = build(TREE, tmp_path / "trees")
    assert build(TREE, tmp_path / "trees") == first
    assert first.name == f"trixie-{TREE.digest}.tar"
    calls = (mmdebstrap / "calls").read_text().splitlines()
    assert len(calls) == 1
    assert "--include=openssh-server,systemd" in calls[0]
    assert "trixie-security main" in calls[0]


def test_an_interrupted_build_leaves_nothing_that_looks_whole(mmdebstrap: Path, tmp_path: Path) -> None:
    """What mmdebstrap wrote before it failed never gets the final name, and the next build clears it away."""
    (mmdebstrap / "fate").write_text("1")
    with pytest.raises(CommandError):
        build(TREE, tmp_path / "trees")
    assert not list((tmp_path / "trees").glob(f"*{TREE.digest}.tar"))
    (tmp_path / "trees" / f"trixie-{TREE.digest}.part" / "mmdebstrap.AbC123" / "usr").mkdir(parents=True)
    (tmp_path / "trees" / "trixie-another.part" / "mmdebstrap.AbC123" / "usr").mkdir(parents=True)
    (mmdebstrap / "fate").write_text("0")
    build(TREE, tmp_path / "trees")
    assert not list((tmp_path / "trees").glob("*.part"))
    assert [path.name for path in (tmp_path / "trees").rglob("*.tar")] == [f"trixie-{TREE.digest}.tar"]


def test_another_tree_is_built_at_the_same_time_and_not_cleared_away(mmdebstrap: Path, tmp_path: Path) -> None:
    """Each build has a folder of its own below the trees, which is its builder's as long as its lock is held."""
    work = tmp_path / "trees" / "bookworm-another.part"
    work.mkdir(parents=True)
    with work.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build(TREE, tmp_path / "trees")
        assert work.exists()
    build(replace(TREE, recipe=TREE.recipe + 1), tmp_path / "trees")
    assert not work.exists()


def test_old_trees_of_the_suite_go_when_there_are_too_many(mmdebstrap: Path, tmp_path: Path) -> None:
    """Each is half a gigabyte; other suites' trees are not touched."""
    folder = tmp_path / "trees"
    other = build(replace(TREE, suite="bookworm"), folder)
    built = [build(replace(TREE, recipe=number), folder) for number in range(10, 12 + KEEP)]
    assert sorted(folder.glob("trixie-*.tar")) == sorted(built[-KEEP:])
    assert other.exists()


def test_a_mirror_can_be_named(mmdebstrap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`DEBIAN_MIRROR` changes where packages come from and not the digest."""
    monkeypatch.setenv("DEBIAN_MIRROR", "http://mirror.test/")
    build(TREE, tmp_path / "trees")
    assert "deb http://mirror.test/debian trixie main" in (mmdebstrap / "calls").read_text()
