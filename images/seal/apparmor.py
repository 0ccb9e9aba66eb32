"""AppArmor's profiles: Debian brings some hundred of them, nearly all of programs that an appliance does not have, and each takes
its time at every start. A sealed image has those of its own programs."""

import re
from collections.abc import Iterator
from pathlib import Path

PROFILES = "etc/apparmor.d"

# `profile NAME PATH flags=(...) {`, or a path alone; what is indented is part of another one. The brace may stand on a line of
# its own, and a comment or a rule behind it; one that begins an alternation of a path has no blank behind it.
_HEAD = re.compile(r"^(?:profile\s+)?(?P<words>[\"/@\w].*?)\s*\{(?=\s|#|$)", re.MULTILINE)
_WORD = re.compile(r'"([^"]+)"|(\S+)')
_SET = re.compile(r"^(@\{\w+\})\s*(\+?)=\s*(.+?)\s*$", re.MULTILINE)
# A path of apparmor.d(5): a variable of another file (which may be anything), wildcards, alternatives; the rest is literal.
_PART = re.compile(r"(?P<variable>@\{\w+\})|(?P<deep>\*\*)|(?P<wild>\*)|(?P<one>\?)|(?P<class>\[[^]]+\])|(?P<other>.)")
_OTHER = {"{": "(?:", ",": "|", "}": ")"}


def remove(tree: Path) -> None:
    """Remove each profile that confines no program of the tree."""
    for name in idle(tree):
        (tree / PROFILES / name).unlink()


def idle(tree: Path) -> list[str]:
    """The files of profiles that no program of the tree is confined by. One in which no profile is found may be anything: it is
    not among them."""
    programs = "\n".join(_programs(tree))
    files = (path for path in sorted((tree / PROFILES).glob("*")) if path.is_file())
    return [path.name for path in files if _is_idle(path.read_text(encoding="utf-8"), programs)]


def _programs(tree: Path) -> Iterator[str]:
    """AppArmor goes by the path that a program has once every link is followed."""
    for path in tree.rglob("*"):
        if not path.is_symlink() and path.is_file() and path.stat().st_mode & 0o111:
            yield f"/{path.relative_to(tree)}"


def _is_idle(profiles: str, programs: str) -> bool:
    confines = any(re.search(f"^{_expression(path)}$", programs, re.MULTILINE) for path in _attached(profiles))
    return _HEAD.search(profiles) is not None and not confines


def _attached(profiles: str) -> Iterator[str]:
    """The paths by which the kernel picks one of these profiles, with the variables that the file itself sets. One that it only
    adds to may be anything, as its first values stand elsewhere."""
    variables: dict[str, list[str]] = {name: [] for name, more, _ in _SET.findall(profiles) if not more}
    for name, _, values in _SET.findall(profiles):
        if name in variables:
            variables[name].extend(values.split())
    for head in _HEAD.finditer(profiles):
        for quoted, plain in _WORD.findall(head["words"]):
            path = quoted or plain
            for name, values in variables.items():
                path = path.replace(name, f"{{{','.join(values)}}}")
            if path.startswith(("/", "@", "{")):
                yield path


def _expression(path: str) -> str:
    """The regular expression of a path as AppArmor writes it."""
    said = {"variable": ".*", "deep": ".*", "wild": "[^/\n]*", "one": "[^/\n]"}
    return "".join(
        said.get(str(part.lastgroup)) or (part[0] if part["class"] else _OTHER.get(part[0], re.escape(part[0])))
        for part in _PART.finditer(path)
    )
