"""The files of the catalogue, and how a `Catalogue` is made of them.

`ndm.yaml` and `alg.yaml` hold DISA's rules of the product with the identifiers of each release. `platform.yaml` holds our own
rules of the operating system; what DISA says of the requirements they answer stands once, in `gpos.yaml`, and nowhere else.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from stig import remedy
from stig.errors import InputError
from stig.remedy import Remedy
from stig.rules import FOLDER, Benchmark, Catalogue, Cci, Chapter, Data, Kind, Requirement, Rule, Severity, Text

PRODUCT = ("ndm.yaml", "alg.yaml")
PLATFORM, REQUIREMENTS = "platform.yaml", "gpos.yaml"

Shape = TypeVar("Shape")
VulnId = Annotated[str, msgspec.Meta(pattern=r"^V-\d{6}$")]
RuleId = Annotated[str, msgspec.Meta(pattern=r"^SV-\d{6}r\d+_rule$")]


class Releases(Data, frozen=True, kw_only=True):
    """A rule's id in each release of its STIG; consumers match a checklist by the id of the release they hold."""

    V1R1: RuleId
    V2R1: RuleId
    V3R1: RuleId


class Ccis(Data, frozen=True, kw_only=True):
    """The control correlation identifiers a rule carries in each release."""

    V1R1: tuple[Cci, ...]
    V2R1: tuple[Cci, ...]
    V3R1: tuple[Cci, ...]


class ProductRule(Data, frozen=True, kw_only=True):
    """One of DISA's rules of the product."""

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


class ProductChapter(Data, frozen=True, kw_only=True):
    """A STIG of DISA's."""

    stig: Literal["NDM", "ALG"]
    benchmark: Benchmark
    rules: tuple[ProductRule, ...]


class PlatformRule(Data, frozen=True, kw_only=True):
    """One of our rules of the operating system. Its other identifiers follow from `id` and `revision`, its CCIs and controls from
    the requirements. `like` is the rule of DISA's whose severity it has, "" where it has that of its first requirement."""

    id: Annotated[str, msgspec.Meta(pattern=r"^SENTRY-OS-\d{4}$")]
    revision: Annotated[int, msgspec.Meta(ge=1)] = 1
    srg: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    severity: Severity
    like: Annotated[str, msgspec.Meta(pattern=r"^((UBTU-24|RHEL-09)-\d{5,6})?$")] = ""
    requirement: Text
    check: Text
    fix: Text
    notes: str = ""
    kind: Kind = "test"
    not_reviewed: Text | None = None
    mended_in: str = ""


class PlatformChapter(Data, frozen=True, kw_only=True):
    """Our benchmark of the operating system."""

    stig: Literal["GPOS"]
    benchmark: Benchmark
    rules: tuple[PlatformRule, ...]


class Requirements(Data, frozen=True, kw_only=True):
    """All requirements of the release of the SRG that is named here."""

    srg: Text
    requirements: tuple[Requirement, ...]


def load(folder: Path = FOLDER) -> Catalogue:
    """Read the whole catalogue; an `InputError` names the file, the place in it and what was expected there."""
    remedies = remedy.load(folder)
    product = tuple(_product(folder / name, remedies) for name in PRODUCT)
    catalogue = Catalogue((*product, _platform(folder, remedies)))
    seen: set[str] = set()
    for chapter in catalogue.chapters:
        for rule in chapter.rules:
            for name in dict.fromkeys((rule.id, rule.version_id, rule.rule_id)):
                if name in seen:
                    raise InputError(f"{folder}: {name} appears twice; every rule has identifiers of its own")
                seen.add(name)
            if rule.kind not in ("test", "answer") and rule.not_reviewed is None:
                raise InputError(f"{folder}: {rule.id} is of kind {rule.kind} and must say why it is not reviewed")
    remedy.checked(remedies, (rule.id for rule in catalogue.rules))
    return catalogue


def read(path: Path, shape: type[Shape]) -> Shape:
    """One file of the catalogue as it is written."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=shape)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: {error}") from error


def _product(path: Path, remedies: Mapping[str, Remedy]) -> Chapter:
    written = read(path, ProductChapter)
    rules = tuple(
        Rule(
            id=rule.id,
            version_id=rule.version_id,
            rule_id=rule.rule_ids.V3R1,
            srgs=(rule.srg,),
            severity=rule.severity,
            ccis=rule.cci.V3R1,
            nist=rule.nist,
            requirement=rule.requirement,
            check=rule.check,
            fix=rule.fix,
            notes=rule.notes,
            kind=rule.kind,
            not_reviewed=rule.not_reviewed,
            remedy=remedy.words(remedies.get(rule.id)),
        )
        for rule in written.rules
    )
    return Chapter(stig=written.stig, benchmark=written.benchmark, rules=rules)


def _platform(folder: Path, remedies: Mapping[str, Remedy]) -> Chapter:
    written = read(folder / PLATFORM, PlatformChapter)
    asked = read(folder / REQUIREMENTS, Requirements).requirements
    known = {one.id: one for one in asked}
    twice = [name for name, count in Counter(one.id for one in asked).items() if count > 1]
    if twice:
        raise InputError(f"{folder / REQUIREMENTS}: {twice[0]} appears twice")
    rules = tuple(_answering(folder / PLATFORM, rule, known, remedies) for rule in written.rules)
    answered = {name for rule in rules for name in rule.srgs}
    for one in asked:
        if (one.id in answered) == (one.not_applicable is not None):
            said = (
                "is answered by a rule and said not to apply"
                if one.not_applicable
                else "has neither a rule nor a reason"
            )
            raise InputError(f"{folder / REQUIREMENTS}: {one.id} {said}; allowed: exactly one of the two")
    return Chapter(stig=written.stig, benchmark=written.benchmark, rules=rules, requirements=asked)


def _answering(
    path: Path, rule: PlatformRule, known: Mapping[str, Requirement], remedies: Mapping[str, Remedy]
) -> Rule:
    unknown = [name for name in rule.srg if name not in known]
    if unknown:
        raise InputError(f"{path}: {rule.id} names {unknown[0]}, which {REQUIREMENTS} does not hold")
    asked = [known[name] for name in rule.srg]
    return Rule(
        id=rule.id,
        version_id=rule.id,
        rule_id=f"{rule.id}r{rule.revision}_rule",
        srgs=rule.srg,
        severity=rule.severity,
        ccis=tuple(dict.fromkeys(cci for one in asked for cci in one.cci)),
        nist=tuple(dict.fromkeys(control for one in asked for control in one.nist)),
        requirement=rule.requirement,
        check=rule.check,
        fix=rule.fix,
        notes=rule.notes,
        kind=rule.kind,
        not_reviewed=rule.not_reviewed,
        mended_in=rule.mended_in,
        remedy=remedy.words(remedy.of_file(rule.id, rule.mended_in) if rule.mended_in else remedies.get(rule.id)),
    )
