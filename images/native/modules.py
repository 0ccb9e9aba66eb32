"""Which modules are compiled, and which sources that depends on: theirs, and those of every module they import."""

import ast
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOM = "sentry_runtime"  # the one room that is compiled in parts


class NativeError(RuntimeError):
    """The modules cannot be compiled; the message says why, and what to do."""


def listed(repo: Path) -> tuple[str, ...]:
    """The modules of `[tool.sentry] compiled` in pyproject.toml, sorted."""
    file = repo / "pyproject.toml"
    try:
        names = tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["sentry"]["compiled"]
    except (KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise NativeError(f"{file}: must hold the list `compiled` in [tool.sentry] ({error})") from error
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise NativeError(f"{file}: `compiled` must be a list of module names, found {names!r}")
    for name in names:
        if name.split(".")[0] != ROOM or not _file(repo, name).is_file():
            raise NativeError(f"{file}: `compiled` names {name}, which is no module of {ROOM}")
    return tuple(sorted(set(names)))


def sources(repo: Path, modules: Iterable[str]) -> dict[str, bytes]:
    """Path -> content, of these modules and of all that they import of the room, directly or not: mypyc reads types there."""
    found: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        for place in _places(name):
            file = repo / place
            if place not in found and file.is_file():
                found[place] = file.read_bytes()
                waiting += _imported(name, found[place])
    return dict(sorted(found.items()))


def path_of(module: str) -> str:
    """The module's file, seen from the folder that the room lies in."""
    return f"{module.replace('.', '/')}.py"


def _file(repo: Path, module: str) -> Path:
    return repo / path_of(module)


def _places(name: str) -> Iterator[str]:
    """Where a dotted name that is imported may have its source: its packages, and itself as a package or a module.
    Python imports packages from the outermost on, and so does mypy."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        yield "/".join([*parts[:length], "__init__.py"])
    yield path_of(name)


def _imported(name: str, source: bytes) -> Iterator[str]:
    """Every dotted name of the room that a source imports. Imports are absolute here (ruff's TID)."""
    for node in ast.walk(ast.parse(source, name)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (one for one in names if one.split(".")[0] == ROOM)
