"""The real compiler in its real tree: hardened machine code, the same from the same sources, and wrong types refused.

The appliance's own modules are compiled once, for the appliance; here they are only looked at. What else is compiled is small.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from images.native.build import SUFFIX, Input, compiled, ensure_root, make, read, within
from images.native.modules import path_of
from images.paths import REPO, Layout
from images.run import CommandError

pytestmark = pytest.mark.appliance  # which has had them compiled

LIBRARY = f"sentry_runtime__mypyc{SUFFIX}"
ENDBR64 = b"\xf3\x0f\x1e\xfa"
ONE = b"""
from sentry_runtime import two


def twice(number: int) -> int:
    return 2 * number + two.zero()
"""
SMALL = {
    "sentry_runtime/__init__.py": b"",
    "sentry_runtime/one.py": ONE,
    "sentry_runtime/two.py": b"def zero() -> int:\n    return 0\n",
}


@pytest.fixture(scope="module")
def files(layout: Layout) -> dict[str, bytes]:
    """The appliance's compiled modules."""
    return compiled(REPO, layout)


@pytest.fixture(scope="module")
def root(layout: Layout) -> Path:
    """The compiler's tree."""
    return ensure_root(layout)


@pytest.fixture(scope="module")
def small() -> Input:
    """Two modules that the project's own compiler compiles in seconds."""
    return replace(read(REPO), modules=("sentry_runtime.one", "sentry_runtime.two"), sources=SMALL)


@pytest.fixture(scope="module")
def made(small: Input, root: Path, layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those two, compiled."""
    output = tmp_path_factory.mktemp("native") / "made"
    make(small, root, REPO, layout.wheels, output)
    return output


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.so")}


def test_each_module_of_the_list_is_there_and_the_library_that_they_share(files: Mapping[str, bytes]) -> None:
    modules = {f"{path_of(name).removesuffix('.py')}{SUFFIX}" for name in read(REPO).modules}
    assert set(files) == modules | {LIBRARY}
    assert all(content.startswith(b"\x7fELF") for content in files.values())


def test_the_machine_code_is_hardened(files: Mapping[str, bytes], root: Path, layout: Layout) -> None:
    """All relocations read-only before the first line runs, a stack without code, no code that is written to, marked targets of
    indirect calls; guarded stacks and checked copies in what is more than a stub."""
    folder = layout.native / read(REPO).digest
    argv = ["readelf", "--wide", "--dynamic", "--program-headers", "--dyn-syms", *(f"/source/{name}" for name in files)]
    said = within(root, argv, {"source": folder}).stdout.split("\nFile: /source/")[1:]
    assert len(said) == len(files)
    for one in said:
        name = one.splitlines()[0]
        assert "GNU_RELRO" in one, name
        assert "BIND_NOW" in one, name
        assert "TEXTREL" not in one, name
        assert re.search(r"GNU_STACK .* RW +0x", one), name
        assert ENDBR64 in files[name], name
        if name == LIBRARY:
            assert "__stack_chk_fail@" in one
            assert "__snprintf_chk@" in one


def test_no_path_of_this_machine_is_in_it(files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        assert str(REPO).encode() not in content, name
        assert b"/tmp/" not in content, name


def test_the_same_sources_give_the_same_bytes(
    small: Input, made: Path, root: Path, layout: Layout, tmp_path: Path
) -> None:
    make(small, root, REPO, layout.wheels, tmp_path / "again")
    assert len(contents(made)) == 3
    assert contents(tmp_path / "again") == contents(made)


@pytest.mark.slow
def test_the_appliances_modules_are_the_same_when_made_again(
    files: dict[str, bytes], root: Path, layout: Layout, tmp_path: Path
) -> None:
    make(read(REPO), root, REPO, layout.wheels, tmp_path / "again")
    assert contents(tmp_path / "again") == files


def test_what_is_compiled_needs_nothing_but_debians_python(made: Path, root: Path, tmp_path: Path) -> None:
    """Neither mypy nor any of its libraries: they are not on the appliance."""
    shutil.copytree(made, tmp_path / "release")
    for name, content in SMALL.items():
        (tmp_path / "release" / name).write_bytes(content)
    program = "import sentry_runtime.one as one; assert one.__file__.endswith('.so'); print(one.twice(21))"
    argv = ["/usr/bin/python3", "-B", "-c", program]
    assert within(root, argv, {"source": tmp_path / "release"}).stdout == "42\n"


def test_the_compiler_is_shut_in(root: Path, tmp_path: Path) -> None:
    """It has no network but a loopback that is down, and can write into nothing but its own /tmp and `output`."""
    program = """
import os, socket
print(sorted(name for _, name in socket.if_nameindex()))
for place in ("/", "/source", "/usr/lib", "/etc"):
    try:
        open(os.path.join(place, "written"), "w")
    except OSError as error:
        print(place, error.strerror)
"""
    said = within(root, ["/usr/bin/python3", "-c", program], {"source": tmp_path}).stdout.splitlines()
    refused = "Read-only file system"
    assert said == ["['lo']", f"/ {refused}", f"/source {refused}", f"/usr/lib {refused}", f"/etc {refused}"]


def test_wrong_types_are_refused_with_mypys_words(small: Input, root: Path, layout: Layout, tmp_path: Path) -> None:
    wrong = {**SMALL, "sentry_runtime/two.py": b"def zero() -> int:\n    return 'nought'\n"}
    with pytest.raises(CommandError, match=r"two\.py:2: error: Incompatible return value type"):
        make(replace(small, sources=wrong), root, REPO, layout.wheels, tmp_path / "made")


def test_the_tree_of_another_list_of_packages_is_removed(root: Path) -> None:
    """One tree at a time: each is half a gigabyte."""
    assert list(root.parent.glob("root-*")) == [root]
    assert shutil.which("gcc", path=f"{root}/usr/bin")
