"""What the reports for other tools have in common: how they name things, and what they say of a rule."""

import re
import uuid
from collections.abc import Iterable

from stig.results import Override, Result, Scan
from stig.rules import Benchmark, Chapter, Rule

# Names of files and checklists are derived from this, so that two scans that found the same write the same.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:sentry:stig")
DETAIL_CHARACTERS = 32_000  # importers cut at 32,767
WEIGHT = "10.0"  # of every rule, as in DISA's own files
CCI_SYSTEM = "http://cyber.mil/cci"
OWN_WORDS = "Identifiers of the STIG named here; the texts of the rules are the scanner's own words."
OWN_BENCHMARK = "Rules of this project's own, made from DISA's General Purpose Operating System SRG; no STIG of DISA's."
GIVEN_WORDS = "Identifiers of the STIG named here; the texts of the rules are those of the benchmark file"

# XML 1.0 2.2: characters that may not appear, not even escaped.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """Text that may stand in XML 1.0: what may not is shown as U+FFFD; carriage returns are line ends."""
    return _ILLEGAL.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def identity(*names: str) -> str:
    """A UUID of what these names name, the same for each scan of the same machine."""
    return str(uuid.uuid5(NAMESPACE, "/".join(names)))


def checklist_identity(scan: Scan, benchmark: Benchmark) -> str:
    """The UUID of this machine's checklist for this STIG."""
    return identity(scan.asset.name, benchmark.id, benchmark.version, benchmark.release)


def reference(benchmark: Benchmark) -> str:
    """How a checklist refers to its STIG (`STIGRef`)."""
    return f"{benchmark.title} :: Version {benchmark.version}, {benchmark.release}"


def origin(chapters: Iterable[Chapter]) -> str:
    """Whose words the texts of these STIGs' rules are."""
    return " ".join(dict.fromkeys(_origin(chapter) for chapter in chapters))


def _origin(chapter: Chapter) -> str:
    if chapter.stig == "GPOS":
        return OWN_BENCHMARK
    return f"{GIVEN_WORDS} {chapter.texts}." if chapter.texts else OWN_WORDS


def remark(scan: Scan) -> str:
    """What stands for the whole machine: on which basis it was assessed, and with which module."""
    return clean(f"{scan.basis} {scan.crypto.module}: {scan.crypto.validation}.")


def satisfies(rule: Rule) -> str:
    """The requirements a rule answers beside the one it stands under, in the words of DISA's files."""
    return f"Satisfies: {', '.join(rule.srgs)}" if len(rule.srgs) > 1 else ""


def discussion(rule: Rule) -> str:
    """What there is to say about a rule, with the requirements it answers."""
    return "\n\n".join(part for part in (rule.notes, satisfies(rule)) if part)


def details(result: Result) -> str:
    """The evidence as text, or why the check broke; empty for a rule nobody decided."""
    if result.status == "not_reviewed":
        return ""
    if result.status == "error":
        return f"The check could not decide: {result.reason}"
    rows = [result.reason] if result.status == "not_applicable" and not result.override else []
    if result.override:
        rows.append(statement(result.override))
    for point in result.evidence:
        mark = "met" if point.met else "NOT MET"
        rows.append(
            f"[{mark}, {point.nature}, {point.time}] {point.command}\n  found: {point.found}\n  expected: {point.expected}"
        )
    text = "\n".join(rows)
    return text if len(text) <= DETAIL_CHARACTERS else f"{text[:DETAIL_CHARACTERS]}..."


def statement(override: Override) -> str:
    """The site's word, with what the scan itself had ended as."""
    return (
        f"Stated by {override.authority} on {override.date}: {override.justification} The scan itself ended as "
        f"{override.scanned.replace('_', ' ')}."
    )


def comments(scan: Scan, result: Result) -> str:
    """How the rule was read, and by which tool and on which basis it was decided; empty where nobody decided it."""
    if result.status in ("not_reviewed", "error"):
        return ""
    return "\n".join(part for part in (result.reading, f"{scan.tool}. {scan.basis}") if part)


def unmet(result: Result) -> str:
    """What of the evidence is not as demanded, in a sentence for each point."""
    return "; ".join(
        f"{one.command}: found {one.found}, expected {one.expected}" for one in result.evidence if not one.met
    )


def decided_at(scan: Scan, result: Result) -> str:
    """When the last look at the machine was taken for this rule."""
    return max((point.time for point in result.evidence), default=scan.finished)


def short_title(benchmark: Benchmark) -> str:
    """The STIG's title without what all of them end with."""
    return benchmark.title.removesuffix(" Security Technical Implementation Guide")
