"""OSCAL assessment results (NIST, 1.1.2) as JSON: an observation for each rule that was decided, with its evidence, and a
finding for each statement of a NIST 800-53 control that these rules are about.

A statement is satisfied when every rule of it was met, and not when one is open. Where nothing is open and a rule could not be
decided nothing is said of it: there is no third state.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from stig import VERSION
from stig.errors import InputError
from stig.reports import texts
from stig.results import Evidence, Result, Scan
from stig.rules import Catalogue, Rule

OSCAL = "1.1.2"
NAMESPACE = "urn:sentry:stig"  # of our own properties
_DECIDED = ("not_a_finding", "open")

_CONTROL = re.compile(r"([A-Z]{2})-([0-9]+)(?: \(([0-9]+)\))?((?: \(?[a-z0-9]+\)?)*)")
_PART = re.compile(r"[a-z0-9]+")


def control(name: str) -> tuple[str, str]:
    """The control and its statement as OSCAL's catalogue of 800-53 calls them: `AC-11 a` is `ac-11` and `ac-11_smt.a`, `IA-5 (1)
    (h)` is `ia-5.1` and `ia-5.1_smt.h`. Raises `InputError`."""
    found = _CONTROL.fullmatch(name)
    if found is None:
        raise InputError(f"{name!r} is no control of NIST 800-53, such as AC-3, AC-11 a or IA-5 (1) (h)")
    family, number, enhancement, parts = found.groups()
    identity = f"{family.lower()}-{number}" + (f".{enhancement}" if enhancement else "")
    return identity, ".".join([f"{identity}_smt", *_PART.findall(parts)])


def render(scan: Scan, catalogue: Catalogue) -> bytes:
    """The whole file."""
    names = (scan.asset.name, scan.started, scan.finished)
    machine = texts.identity(*names, "machine")
    plan = texts.identity(*names, "plan")
    rules = {rule.id: rule for rule in catalogue.rules}
    decided = [(rules[result.rule], result) for result in scan.results if result.status in _DECIDED]
    looked_at = sorted({control(name)[0] for rule, _ in decided for name in rule.nist})
    result: dict[str, Any] = {
        "uuid": texts.identity(*names, "result"),
        "title": f"STIG scan of {scan.asset.name}",
        "description": texts.clean(texts.remark(scan)),
        "start": scan.started,
        "end": scan.finished,
        "local-definitions": {"inventory-items": [_machine(scan, machine)]},
        "reviewed-controls": {
            "control-selections": [
                {"include-controls": [{"control-id": name} for name in looked_at]} if looked_at else {"include-all": {}}
            ]
        },
    }
    if decided:
        result["observations"] = [_observation(scan, machine, rule, one) for rule, one in decided]
    if findings := list(_findings(scan, rules)):
        result["findings"] = findings
    tree = {
        "assessment-results": {
            "uuid": texts.identity(*names, "oscal"),
            "metadata": {
                "title": f"Assessment results of {scan.asset.name}",
                "last-modified": scan.finished,
                "version": VERSION,
                "oscal-version": OSCAL,
            },
            "import-ap": {"href": f"#{plan}"},
            "results": [result],
            "back-matter": {"resources": [_plan(plan, catalogue)]},
        }
    }
    return msgspec.json.format(msgspec.json.encode(tree), indent=2) + b"\n"


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": name, "ns": NAMESPACE, "value": value}


def _machine(scan: Scan, identity: str) -> dict[str, Any]:
    asset = scan.asset
    said = {"asset-id": asset.name, "fqdn": asset.fqdn, "mac-address": asset.mac}
    address = "ipv6-address" if ":" in asset.address else "ipv4-address"
    rows = {**said, address: asset.address}
    return {
        "uuid": identity,
        "description": "The appliance that was scanned.",
        "props": [{"name": name, "value": value} for name, value in rows.items() if value],
    }


def _plan(identity: str, catalogue: Catalogue) -> dict[str, Any]:
    """What was assessed by: there is no plan in OSCAL, but there are the STIGs."""
    rows = ", ".join(texts.reference(chapter.benchmark) for chapter in catalogue.chapters)
    return {
        "uuid": identity,
        "title": "The rules that were assessed",
        "description": f"{rows}. {texts.origin(catalogue.chapters)}",
    }


def _observed(scan: Scan, rule: str) -> str:
    return texts.identity(scan.asset.name, scan.started, scan.finished, rule)


def _observation(scan: Scan, machine: str, rule: Rule, result: Result) -> dict[str, Any]:
    properties = {
        "vuln-id": rule.id,
        "rule-id": rule.rule_id,
        "stig-id": rule.version_id,
        "severity": rule.severity,
        "status": result.status,
    }
    evidence = [_evidence(point) for point in result.evidence]
    stated = texts.statement(result.override) if result.override else ""
    return {
        "uuid": _observed(scan, rule.id),
        "title": f"{rule.id} ({rule.version_id})",
        "description": texts.clean(" ".join(part for part in (rule.requirement, result.reading, stated) if part)),
        "props": [_property(name, value) for name, value in properties.items()],
        "methods": ["TEST"] if evidence else ["EXAMINE"],
        "subjects": [{"subject-uuid": machine, "type": "inventory-item"}],
        **({"relevant-evidence": evidence} if evidence else {}),
        "collected": texts.decided_at(scan, result),
    }


def _evidence(point: Evidence) -> dict[str, Any]:
    met = _property("met", "yes" if point.met else "no")
    said = f"{point.command}: found {point.found}; expected {point.expected}"
    return {"description": texts.clean(said), "props": [met, _property("nature", point.nature)]}


def _findings(scan: Scan, rules: dict[str, Rule]) -> Iterator[dict[str, Any]]:
    about: dict[str, list[Result]] = {}
    for result in scan.results:
        for name in rules[result.rule].nist:
            about.setdefault(control(name)[1], []).append(result)
    for statement, those in sorted(about.items()):
        if state := _state([result.status for result in those]):
            yield {
                "uuid": _observed(scan, statement),
                "title": statement,
                "description": "; ".join(f"{result.rule}: {result.status}" for result in those),
                "target": {"type": "statement-id", "target-id": statement, "status": {"state": state}},
                "related-observations": [
                    {"observation-uuid": _observed(scan, result.rule)} for result in those if result.status in _DECIDED
                ],
            }


def _state(statuses: Sequence[str]) -> str:
    """What may be said of a statement whose rules ended as these; "" where nothing may."""
    asked = [status for status in statuses if status != "not_applicable"]
    if "open" in asked:
        return "not-satisfied"
    return "satisfied" if asked and set(asked) == {"not_a_finding"} else ""
