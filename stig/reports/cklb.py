"""The checklist of STIG Viewer 3 (`.cklb`, version 1.0): JSON, one file with all STIGs.

There is no public schema. The keys, their order and their types are those that STIG Viewer 3 writes and STIG Manager reads:
numbers as strings, `overrides` an object, `rule_id` without its suffix and `rule_id_src` with it. As in the `.ckl`, a rule that
nobody decided has neither details nor comments.
"""

from typing import Any

import msgspec

from stig.reports import texts
from stig.results import Result, Scan
from stig.rules import Benchmark, Catalogue, Chapter, Rule

_EMPTY = (
    "false_positives",
    "false_negatives",
    "security_override_guidance",
    "potential_impacts",
    "third_party_tools",
    "ia_controls",
    "responsibility",
    "mitigations",
    "mitigation_control",
)


def render(scan: Scan, catalogue: Catalogue) -> bytes:
    """The whole file."""
    names = [f"{chapter.benchmark.id}-V{chapter.benchmark.version}" for chapter in catalogue.chapters]
    tree = {
        "title": "-".join([scan.asset.name, *names]),
        "id": texts.identity(scan.asset.name, *names),
        "stigs": [_stig(scan, chapter) for chapter in catalogue.chapters],
        "active": False,
        "mode": 2,
        "has_path": True,
        "target_data": {
            "target_type": "Computing",
            "host_name": scan.asset.name,
            "ip_address": scan.asset.address,
            "mac_address": scan.asset.mac,
            "fqdn": scan.asset.fqdn,
            "comments": texts.remark(scan),
            "role": "None",
            "is_web_database": False,
            "technology_area": "",
            "web_db_site": "",
            "web_db_instance": "",
            "classification": None,
        },
        "cklb_version": "1.0",
    }
    return msgspec.json.format(msgspec.json.encode(tree), indent=2) + b"\n"


def _stig(scan: Scan, chapter: Chapter) -> dict[str, Any]:
    benchmark = chapter.benchmark
    identity = texts.checklist_identity(scan, benchmark)
    results = scan.by_rule
    return {
        "stig_name": benchmark.title,
        "display_name": texts.short_title(benchmark),
        "stig_id": benchmark.id,
        "release_info": benchmark.release,
        "version": benchmark.version,
        "uuid": identity,
        "reference_identifier": benchmark.target_key,
        "size": len(chapter.rules),
        "rules": [_rule(scan, benchmark, identity, rule, results[rule.id]) for rule in chapter.rules],
    }


def _rule(scan: Scan, benchmark: Benchmark, identity: str, rule: Rule, result: Result) -> dict[str, Any]:
    return {
        "group_id_src": rule.id,
        "group_tree": [
            {"id": rule.id, "title": rule.srg, "description": "<GroupDescription></GroupDescription>"},
        ],
        "group_id": rule.id,
        "severity": rule.severity,
        "group_title": rule.srg,
        "rule_id_src": rule.rule_id,
        "rule_id": rule.rule_id.removesuffix("_rule"),
        "rule_version": rule.version_id,
        "rule_title": rule.requirement,
        "fix_text": rule.fix,
        "weight": texts.WEIGHT,
        "check_content": rule.check,
        "check_content_ref": {"href": benchmark.filename, "name": "M"},
        "classification": "Unclassified",
        "discussion": texts.discussion(rule),
        **dict.fromkeys(_EMPTY, ""),
        "documentable": "false",
        "legacy_ids": [],
        "ccis": list(rule.ccis),
        "reference_identifier": benchmark.target_key,
        "uuid": texts.identity(identity, rule.rule_id),
        "stig_uuid": identity,
        "status": "not_reviewed" if result.status == "error" else result.status,
        "overrides": {},
        "comments": texts.clean(texts.comments(scan, result)),
        "finding_details": texts.clean(texts.details(result)),
    }
