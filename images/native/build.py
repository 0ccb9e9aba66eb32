"""The compiled modules of the appliance: made in a Debian 13 of their own, kept by the digest of everything they come from."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images import rootfs
from images.console import say
from images.isolated import run_isolated
from images.native import modules
from images.native.modules import NativeError
from images.paths import Layout
from images.rootfs import SOURCE_DATE, Tree
from images.run import Done
from images.wheels import fetch_wheel, locked, wheel_files

TREE = Tree("trixie", ("binutils", "gcc", "libc6-dev", "libpython3-dev", "python3"))
COMPILER = ("ast-serialize", "librt", "mypy", "mypy-extensions", "pathspec", "setuptools", "typing-extensions")
PROGRAM = Path(__file__).with_name("compiler.py")
RECIPE = 1  # raise it when this module makes other files from the same inputs
SUFFIX = ".cpython-313-x86_64-linux-gnu.so"  # of Debian 13's Python, and of no other

COMPILE_SECONDS = 1_800  # one minute on two free cores; a busy machine needs many times that
KEEP = 4  # results: the one in use, the one before it, and those of two other branches; each is 3 MB
DIGEST_DIGITS = 16
_DIGEST = re.compile(rf"[0-9a-f]{{{DIGEST_DIGITS}}}")

# Folders of the tree, which is read-only while it compiles, at which that sees what it works with.
_SEEN = ("source", "compiler", "output")


@dataclass(frozen=True, slots=True)
class Input:
    """Everything that the compiled modules come from: which, their sources and those they import, and by what they are made."""

    modules: tuple[str, ...]
    sources: Mapping[str, bytes]
    compiler: tuple[str, ...]
    program: bytes
    tree: str = TREE.digest
    recipe: int = RECIPE

    @property
    def digest(self) -> str:
        """Changes exactly when one of it changes."""
        sources = {name: hashlib.sha256(content).hexdigest() for name, content in self.sources.items()}
        program = hashlib.sha256(self.program).hexdigest()
        whole = [self.modules, sources, self.compiler, program, self.tree, self.recipe]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:DIGEST_DIGITS]


def read(repo: Path) -> Input:
    """What the checkout holds now."""
    listed = modules.listed(repo)
    requirements = (repo / "requirements.txt").read_text(encoding="utf-8")
    compiler = tuple(locked(requirements, name) for name in COMPILER)
    return Input(listed, modules.sources(repo, listed), compiler, PROGRAM.read_bytes())


def compiled(repo: Path, layout: Layout) -> dict[str, bytes]:
    """Path beside the sources -> content, of the compiled modules and the library they share; made unless kept from before.

    Raises `NativeError` when they must be made and cannot, and what `images.run` and the makers of trees and wheels raise.
    """
    given = read(repo)
    final = layout.native / given.digest
    if not final.is_dir():
        if os.geteuid() != 0:
            raise NativeError(
                "the gateway's modules are not compiled yet, and that needs root: run "
                "`sudo .venv/bin/python -m images.native` once, then this again"
            )
        layout.native.mkdir(parents=True, exist_ok=True)
        with _alone(layout.native):
            if not final.is_dir():
                for leftover in layout.native.glob("making-*"):  # of one that was killed
                    shutil.rmtree(leftover)
                say(f"    mypyc compiles {len(given.modules)} modules, and reads {len(given.sources)}")
                root = ensure_root(layout)
                with tempfile.TemporaryDirectory(prefix="making-", dir=layout.native) as scratch:
                    output = Path(scratch) / "output"
                    make(given, root, repo, layout.wheels, output)
                    output.rename(final)
                _prune(layout.native)
    _touch(final)
    return {str(path.relative_to(final)): path.read_bytes() for path in sorted(final.rglob("*.so"))}


def make(given: Input, root: Path, repo: Path, wheels: Path, output: Path) -> None:
    """Compile into `output`, within the tree at `root`."""
    output.mkdir()
    with tempfile.TemporaryDirectory(prefix="making-", dir=output.parent) as scratch:
        source, compiler = Path(scratch) / "source", Path(scratch) / "compiler"
        _write(source, {**given.sources, PROGRAM.name: given.program})
        for name in COMPILER:
            _write(compiler, wheel_files(fetch_wheel(repo, wheels, name)))
        argv = ["/usr/bin/python3", f"/source/{PROGRAM.name}", "/output", *map(modules.path_of, given.modules)]
        within(root, argv, {"source": source, "compiler": compiler, "output": output})
    absent = [name for name in given.modules if not (output / f"{name.replace('.', '/')}{SUFFIX}").is_file()]
    if absent:
        raise NativeError(f"mypyc ended well, but made no {SUFFIX} of {', '.join(absent)}")


def within(root: Path, argv: list[str], binds: Mapping[str, Path]) -> Done:
    """Run a program to its end in the tree: no network, no process or file but its own, and only `output` to write to."""
    places = [f"--bind{'' if name == 'output' else '-ro'}={path}:/{name}" for name, path in binds.items()]
    environment = {
        "PYTHONPATH": "/compiler",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SOURCE_DATE_EPOCH": SOURCE_DATE,
        "LC_ALL": "C.UTF-8",
    }
    options = [*places, "--chdir=/source"]
    return run_isolated(root, argv, seconds=COMPILE_SECONDS, options=options, environment=environment)


def ensure_root(layout: Layout) -> Path:
    """The tree, unpacked; one of other inputs is removed."""
    root = layout.native / f"root-{TREE.digest}"
    if not (root / "ready").exists():
        for old in layout.native.glob("root-*"):
            shutil.rmtree(old)
        tar = rootfs.build(
            TREE, layout.native / "rootfs"
        )  # apart from the guests' trees, which are made at the same time
        rootfs.extract(tar, root)
        tar.unlink()  # nobody else wants it
        for name in _SEEN:
            (root / name).mkdir()
        (root / "ready").touch()
    return root


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def _touch(folder: Path) -> None:
    """Note that it is in use, where we may."""
    if os.access(folder, os.W_OK):
        os.utime(folder)


def _prune(folder: Path) -> None:
    results = [path for path in folder.iterdir() if _DIGEST.fullmatch(path.name)]
    for old in sorted(results, key=lambda path: path.stat().st_mtime_ns)[:-KEEP]:
        shutil.rmtree(old)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
