"""The catalogue: every rule of every chapter in one shape, read from `catalogue/*.yaml` (`stig.written` knows their forms)."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from stig.errors import InputError

FOLDER = Path(__file__).parent / "catalogue"

Severity = Literal["high", "medium", "low"]
Category = Literal["I", "II", "III"]
Kind = Literal["test", "inherent", "manual", "answer"]
Stig = Literal["NDM", "ALG", "GPOS"]
"""By the SRG a chapter is made from: network devices and gateways (DISA's STIGs of the product), operating systems (ours)."""

CATEGORY: dict[Severity, Category] = {"high": "I", "medium": "II", "low": "III"}
CATEGORIES: tuple[Category, ...] = ("I", "II", "III")

Cci = Annotated[str, msgspec.Meta(pattern=r"^CCI-\d{6}$")]
Text = Annotated[str, msgspec.Meta(min_length=1)]


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, named fields only, nothing unknown."""


class Benchmark(Data, frozen=True, kw_only=True):
    """The facts of one benchmark's release by which viewers recognise a checklist. `publisher` and `source` say whose it is."""

    id: Text
    title: Text
    version: Text
    release: Annotated[str, msgspec.Meta(pattern=r"^Release: \d+ Benchmark Date: \d{2} \w{3} \d{4}$")]
    target_key: Text
    filename: Text
    publisher: Text = "DISA"
    source: Text = "STIG.DOD.MIL"


class Rule(Data, frozen=True, kw_only=True):
    """One rule in the release the reports are written for.

    `srgs` are the requirements it answers, the one it stands under first. The texts are ours; `not_reviewed` says why no check
    decides it, None where one does. `mended_in` is the file of this project that mends an open one, "" where none is named;
    `remedy` says for people what mends it.
    """

    id: Text
    version_id: Text
    rule_id: Text
    srgs: tuple[Text, ...]
    severity: Severity
    ccis: tuple[Cci, ...]
    nist: tuple[Text, ...]
    requirement: Text
    check: Text
    fix: Text
    notes: str = ""
    kind: Kind
    not_reviewed: Text | None = None
    mended_in: str = ""
    remedy: str = ""

    @property
    def category(self) -> Category:
        """CAT I, II or III."""
        return CATEGORY[self.severity]

    @property
    def srg(self) -> str:
        """The requirement it stands under."""
        return self.srgs[0]


class Requirement(Data, frozen=True, kw_only=True):
    """One requirement of an SRG: what it is about, in a few words of ours, and DISA's mapping of it.

    `not_applicable` is why no rule of ours answers it; None where one does.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^SRG-OS-\d{6}-GPOS-\d{5}$")]
    severity: Severity
    cci: tuple[Cci, ...]
    nist: tuple[Text, ...]
    about: Text
    not_applicable: Text | None = None


class Chapter(Data, frozen=True, kw_only=True):
    """One benchmark with its rules, and the requirements it answers where it is ours."""

    stig: Stig
    benchmark: Benchmark
    rules: tuple[Rule, ...]
    requirements: tuple[Requirement, ...] = ()
    texts: str = ""
    """The benchmark file whose texts these are (`stig.benchmark`); "" where they are our own."""


class Catalogue(msgspec.Struct, frozen=True):
    """All chapters, in the order the reports keep."""

    chapters: tuple[Chapter, ...]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule of every chapter."""
        return tuple(rule for chapter in self.chapters for rule in chapter.rules)

    def rule(self, vuln_id: str) -> Rule:
        """The rule with this V-number; `InputError` where the catalogue has none."""
        for rule in self.rules:
            if rule.id == vuln_id:
                return rule
        raise InputError(f"rule {vuln_id} is not in the catalogue")

    def chapter_of(self, vuln_id: str) -> Chapter:
        """The STIG a rule belongs to."""
        for chapter in self.chapters:
            if any(rule.id == vuln_id for rule in chapter.rules):
                return chapter
        raise InputError(f"rule {vuln_id} is not in the catalogue")

    def chapter(self, stig: Stig) -> Chapter:
        """The chapter of this SRG."""
        return next(chapter for chapter in self.chapters if chapter.stig == stig)
