"""What is compiled and kept: the list, the sources that it depends on, and the digest of all that goes in."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from images.native import build, modules
from images.native.build import COMPILER, Input, read
from images.native.modules import NativeError, listed, sources
from images.paths import REPO, Layout

GIVEN = Input(("sentry_runtime.a",), {"sentry_runtime/a.py": b"a = 1"}, ("mypy==1",), b"program")

ROOM = {
    "__init__": "",
    "hot": "from sentry_runtime import word\nfrom sentry_runtime.deep.inner import thing\nimport httptools\n",
    "word": "import sentry_runtime.typed\nif TYPE_CHECKING:\n    from sentry_runtime.late import Late\n",
    "typed": "def f():\n    from sentry_runtime.inside import x\n",
    "late": "from sentry_runtime import hot",
    "inside": "",
    "deep/__init__": "from sentry_runtime.deep import sibling",
    "deep/inner": "thing = 1",
    "deep/sibling": "",
    "cold": "import sentry_runtime.hot",
}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A project with a room of a few modules, of which one is to be compiled."""
    for name, text in ROOM.items():
        place = tmp_path / "sentry_runtime" / f"{name}.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    (tmp_path / "pyproject.toml").write_text('[tool.sentry]\ncompiled = ["sentry_runtime.hot"]\n')
    (tmp_path / "requirements.txt").write_text("".join(f"{name}==1 \\\n    --hash=sha256:00\n" for name in COMPILER))
    return tmp_path


def test_the_sources_are_those_of_every_import_on_the_way_and_no_others(repo: Path) -> None:
    """Imports of functions, of type checking and of packages count, those of modules that nobody imports do not."""
    found = sources(repo, listed(repo))
    assert set(found) == {f"sentry_runtime/{name}.py" for name in ROOM if name != "cold"}
    assert found["sentry_runtime/deep/inner.py"] == b"thing = 1"


def test_each_module_is_listed_once_and_in_order(repo: Path) -> None:
    text = '[tool.sentry]\ncompiled = ["sentry_runtime.word", "sentry_runtime.hot", "sentry_runtime.word"]\n'
    (repo / "pyproject.toml").write_text(text)
    assert listed(repo) == ("sentry_runtime.hot", "sentry_runtime.word")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "compiled"),
        ("[tool.sentry]\ncompiled = []\n", "must be a list"),
        ("[tool.sentry]\ncompiled = [1]\n", "must be a list"),
        ("[tool.sentry]\ncompiled = 'sentry_runtime.hot'\n", "must be a list"),
        ('[tool.sentry]\ncompiled = ["sentry_runtime.gone"]\n', r"names sentry_runtime\.gone, which is no module"),
        ('[tool.sentry]\ncompiled = ["appliance.hot"]\n', r"names appliance\.hot, which is no module"),
        ("[tool.sentry", "compiled"),
    ],
)
def test_a_list_that_cannot_be_is_refused_with_what_is_wrong(repo: Path, text: str, found: str) -> None:
    (repo / "pyproject.toml").write_text(text)
    with pytest.raises(NativeError, match=rf"pyproject\.toml.*{found}"):
        listed(repo)


def test_the_digest_depends_on_all_that_goes_in() -> None:
    others = [
        replace(GIVEN, modules=("sentry_runtime.b",)),
        replace(GIVEN, sources={"sentry_runtime/a.py": b"a = 2"}),
        replace(GIVEN, sources={"sentry_runtime/b.py": b"a = 1"}),
        replace(GIVEN, compiler=("mypy==2",)),
        replace(GIVEN, program=b"other"),
        replace(GIVEN, tree="another"),
        replace(GIVEN, recipe=GIVEN.recipe + 1),
    ]
    assert len({one.digest for one in (GIVEN, *others)}) == 8
    assert replace(GIVEN).digest == GIVEN.digest


def test_what_is_kept_is_given_out_and_nothing_is_made(repo: Path, tmp_path: Path) -> None:
    """Not even a tool of the maker is touched: there is no root, no network and no compiler in it."""
    layout = Layout(tmp_path / "build")
    place = layout.native / read(repo).digest / "sentry_runtime"
    place.mkdir(parents=True)
    (place / "hot.so").write_bytes(b"machine code")
    assert build.compiled(repo, layout) == {"sentry_runtime/hot.so": b"machine code"}


def test_whoever_may_not_make_it_is_told_what_to_run(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(NativeError, match=r"sudo \.venv/bin/python -m images\.native"):
        build.compiled(repo, Layout(tmp_path / "build"))
    assert not (tmp_path / "build").exists()


def test_the_results_used_last_are_kept(tmp_path: Path) -> None:
    names = [f"{number:016x}" for number in range(build.KEEP + 2)]
    for age, name in enumerate((*names, "rootfs", "host-0000000000000000")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (age, age))
    build._prune(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*names[2:], "rootfs", "host-0000000000000000"}


def test_the_compiler_is_mypy_and_all_that_the_lock_says_it_needs() -> None:
    """A new version of mypy that needs another package would otherwise fail in the tree, late."""
    needed, name = {"mypy", "setuptools"}, ""
    for line in (REPO / "requirements.txt").read_text().splitlines():
        name = name if line.startswith(" ") else line
        if re.fullmatch(r" +# +(via )?mypy", line):
            needed.add(name.split("==")[0])
    assert needed == set(COMPILER)


def test_the_projects_own_list_is_what_the_gateway_imports() -> None:
    """Nothing of another process is compiled for it, and all of it exists."""
    own = listed(REPO)
    assert "sentry_runtime.gateway.front" in own
    read_too = sources(REPO, own)
    assert {modules.path_of(name) for name in own} <= set(read_too)
    assert not [name for name in read_too if name.split("/")[1] in {"agent", "uem_server"}]
