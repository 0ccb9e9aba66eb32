"""The catalogue: the rules as typed data, read from `catalogue/*.yaml`."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from stig.errors import InputError

FOLDER = Path(__file__).parent / "catalogue"

Severity = Literal["high", "medium", "low"]
Category = Literal["I", "II", "III"]
Kind = Literal["test", "inherent", "manual", "answer"]
Stig = Literal["NDM", "ALG"]

CATEGORY: dict[Severity, Category] = {"high": "I", "medium": "II", "low": "III"}
CATEGORIES: tuple[Category, ...] = ("I", "II", "III")

VulnId = Annotated[str, msgspec.Meta(pattern=r"^V-\d{6}$")]
RuleId = Annotated[str, msgspec.Meta(pattern=r"^SV-\d{6}r\d+_rule$")]
Cci = Annotated[str, msgspec.Meta(pattern=r"^CCI-\d{6}$")]
Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, named fields only, nothing unknown."""


class Releases(_Data, frozen=True, kw_only=True):
    """A rule's id in each release of its STIG; consumers match a checklist by the id of the release they hold."""

    V1R1: RuleId
    V2R1: RuleId
    V3R1: RuleId


class Ccis(_Data, frozen=True, kw_only=True):
    """The control correlation identifiers a rule carries in each release."""

    V1R1: tuple[Cci, ...]
    V2R1: tuple[Cci, ...]
    V3R1: tuple[Cci, ...]


class Benchmark(_Data, frozen=True, kw_only=True):
    """The facts of one STIG release by which viewers recognise a checklist."""

    id: Text
    title: Text
    version: Text
    release: Annotated[str, msgspec.Meta(pattern=r"^Release: \d+ Benchmark Date: \d{2} \w{3} \d{4}$")]
    target_key: Text
    filename: Text


class Rule(_Data, frozen=True, kw_only=True):
    """One rule. The texts are ours; `not_reviewed` says why no check decides it, None where one does."""

    id: VulnId
    version_id: Annotated[str, msgspec.Meta(pattern=r"^MOIS-(ND|AL)-\d{6}$")]
    rule_ids: Releases
    srg: Annotated[str, msgspec.Meta(pattern=r"^SRG-(APP|NET)-\d{6}-(NDM|ALG)-\d{6}$")]
    severity: Severity
    cci: Ccis
    nist: tuple[Text, ...]
    where: tuple[Literal["system_manager", "clish", "uem", "platform", "inherent"], ...]
    requirement: Text
    check: Text
    fix: Text
    notes: str = ""
    kind: Kind
    not_reviewed: Text | None = None

    @property
    def category(self) -> Category:
        """CAT I, II or III."""
        return CATEGORY[self.severity]

    @property
    def rule_id(self) -> str:
        """The id in the release the reports are written for (V3R1)."""
        return self.rule_ids.V3R1

    @property
    def ccis(self) -> tuple[str, ...]:
        """The CCIs in the release the reports are written for (V3R1)."""
        return self.cci.V3R1


class Chapter(_Data, frozen=True, kw_only=True):
    """One STIG with its rules."""

    stig: Stig
    benchmark: Benchmark
    rules: tuple[Rule, ...]
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


def load(folder: Path = FOLDER) -> Catalogue:
    """Read `ndm.yaml` and `alg.yaml`; an `InputError` names the file, the place in it and what was expected there."""
    chapters = tuple(_chapter(folder / name) for name in ("ndm.yaml", "alg.yaml"))
    seen: set[str] = set()
    for rule in Catalogue(chapters).rules:
        for name in (rule.id, rule.version_id, *msgspec.structs.astuple(rule.rule_ids)[2:]):
            if name in seen:
                raise InputError(f"{folder}: {name} appears twice; every rule has identifiers of its own")
            seen.add(name)
    return Catalogue(chapters)


def _chapter(path: Path) -> Chapter:
    try:
        chapter = msgspec.yaml.decode(path.read_bytes(), type=Chapter)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: {error}") from error
    for rule in chapter.rules:
        if rule.kind in ("manual", "answer", "inherent") and rule.not_reviewed is None:
            raise InputError(f"{path}: {rule.id} is of kind {rule.kind} and must say why it is not reviewed")
    return chapter
