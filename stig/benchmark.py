"""DISA's own benchmark file (the manual STIG, XCCDF 1.1 or 1.2), where an assessor has it: its texts take the place of ours.

The file is never a part of this project. Which rules there are, and how they are decided, is the catalogue's alone.
"""

import re
from pathlib import Path

import msgspec
from lxml import etree

from stig.errors import InputError
from stig.rules import Benchmark, Catalogue, Chapter, Rule

MOST_BYTES = 8 * 1_048_576  # DISA's largest has about two

_NAMESPACES = ("http://checklists.nist.gov/xccdf/1.1", "http://checklists.nist.gov/xccdf/1.2")
_DISCUSSION = re.compile(r"<VulnDiscussion>(.*?)</VulnDiscussion>", re.DOTALL)
_PREFIXES = ("xccdf_mil.disa.stig_benchmark_", "xccdf_mil.disa.stig_rule_")


def apply(path: Path, catalogue: Catalogue) -> Catalogue:
    """The catalogue with the texts of the STIG that this file is of. Raises `InputError`, which says what was expected."""
    root = _parsed(path)
    name, version, release = _identity(root)
    theirs = [chapter for chapter in catalogue.chapters if chapter.stig != "GPOS"]
    for chapter in theirs:
        if _is(chapter.benchmark, name, version, release):
            worded = _with_texts(path, root, chapter)
            return Catalogue(tuple(worded if one is chapter else one for one in catalogue.chapters))
    known = "; ".join(
        f"{chapter.benchmark.id}, version {chapter.benchmark.version}, {chapter.benchmark.release}"
        for chapter in theirs
    )
    raise InputError(f"{path}: found {name}, version {version}, {release or 'without a release'}; allowed: {known}")


def _parsed(path: Path) -> etree._Element:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path}: a benchmark of at most {MOST_BYTES:,} bytes is allowed; found {size:,}")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise InputError(f"{path}: is not XML: {error}") from error
    if root.tag not in [f"{{{namespace}}}Benchmark" for namespace in _NAMESPACES]:
        raise InputError(f"{path}: found the element {root.tag}; allowed: a Benchmark of XCCDF 1.1 or 1.2")
    return root


def _identity(root: etree._Element) -> tuple[str, str, str]:
    release = next((one.text or "" for one in root.iterfind("{*}plain-text") if one.get("id") == "release-info"), "")
    return _bare(root.get("id", "")), _text(root, "version"), release.strip()


def _is(benchmark: Benchmark, name: str, version: str, release: str) -> bool:
    return (benchmark.id, benchmark.version, benchmark.release) == (name, version, release)


def _with_texts(path: Path, root: etree._Element, chapter: Chapter) -> Chapter:
    there = {_bare(rule.get("id", "")): rule for rule in root.iterfind("{*}Group/{*}Rule")}
    missing = [rule.rule_id for rule in chapter.rules if rule.rule_id not in there]
    if missing:
        raise InputError(
            f"{path}: has no rule {', '.join(missing)}; allowed: a benchmark with all rules of {chapter.benchmark.id}"
        )
    rules = tuple(_worded(rule, there[rule.rule_id]) for rule in chapter.rules)
    return msgspec.structs.replace(chapter, rules=rules, texts=path.name)


def _worded(rule: Rule, said: etree._Element) -> Rule:
    discussion = _DISCUSSION.search(_text(said, "description"))
    return msgspec.structs.replace(
        rule,
        requirement=_text(said, "title") or rule.requirement,
        check=_text(said, "check/{*}check-content") or rule.check,
        fix=_text(said, "fixtext") or rule.fix,
        notes=discussion[1].strip() if discussion else rule.notes,
    )


def _text(element: etree._Element, path: str) -> str:
    found = element.find(f"{{*}}{path}")
    return "".join(map(str, found.itertext())).strip() if found is not None else ""


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
