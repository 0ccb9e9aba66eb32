"""One scan: run the checks, fill in the rules no check decides, and put it all into one `Scan`."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from stig import VERSION
from stig.answers import Answers, Statement
from stig.errors import FactError, ScanError
from stig.facts import Facts
from stig.judge.crypto import module
from stig.machine import Machine
from stig.parse import words
from stig.recorder import Clock, Outcome, Recorder, stamp
from stig.results import Asset, Crypto, Override, Result, Scan, count, count_by_category
from stig.rules import Catalogue, Rule, Stig

CHECKS = Path(__file__).parent / "checks"
ROOT_HASH = "roothash="  # kernel-command-line(7) of systemd; images/disk/grub.py writes it
BASIS = (  # what every report says first
    "Assessed by equivalence: the rules of the NDM and ALG STIGs were written for another vendor's gateway; each was assessed on "
    "this appliance by what it demands, not by that product's menus. The rules of the operating system are this project's own."
)


def scan(
    machine: Machine, catalogue: Catalogue, answers: Answers | None, *, clock: Clock, say: Callable[[str], None]
) -> Scan:
    """Every rule with exactly one result. `ScanError` when the checks could not be run as a whole; a failed look at the
    machine is not that: its rule ends as `error` and the scan goes on."""
    started, began = clock(), time.monotonic()
    facts = Facts(machine)
    outcomes = run_checks(catalogue, facts, answers, clock=clock, say=say)
    results = stated(complete(catalogue, outcomes), answers)
    return Scan(
        tool=f"sentry stig {VERSION}",
        basis=BASIS,
        asset=asset(facts),
        crypto=crypto(facts),
        started=stamp(started),
        finished=stamp(clock()),
        seconds=round(time.monotonic() - began, 1),
        counts=count(results),
        by_category=count_by_category(results),
        results=results,
    )


def run_checks(
    catalogue: Catalogue,
    facts: Facts,
    answers: Answers | None,
    *,
    clock: Clock,
    say: Callable[[str], None],
    folder: Path = CHECKS,
) -> dict[str, Outcome]:
    """Run the checks in `folder` in a pytest session of their own; rule -> what it ended as."""
    recorder = Recorder(catalogue, facts, answers, clock, say)
    argv = [str(folder), "-c", str(CHECKS / "pytest.ini"), f"--rootdir={folder}"]
    # The terminal reporter would print the checks' assertions as test failures; the scan has its own lines.
    status = pytest.main([*argv, "-p", "no:terminal", "-p", "no:faulthandler"], plugins=[recorder])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise ScanError(f"the checks in {folder} could not be run (pytest ended with {status!r})")
    return recorder.outcomes


def complete(catalogue: Catalogue, outcomes: dict[str, Outcome]) -> tuple[Result, ...]:
    """One result for every rule of the catalogue, in its order; `ScanError` when checks and catalogue disagree."""
    expected = {rule.id for rule in catalogue.rules if rule.not_reviewed is None}
    missing, surplus = sorted(expected - set(outcomes)), sorted(set(outcomes) - expected)
    if missing or surplus:
        raise ScanError(
            f"checks and catalogue disagree: no result for {missing or 'none'}, no such automated rule: {surplus or 'none'}"
        )
    results = tuple(
        _result(chapter.stig, rule, outcomes.get(rule.id)) for chapter in catalogue.chapters for rule in chapter.rules
    )
    if len({result.rule for result in results}) != len(catalogue.rules):
        raise ScanError(f"{len(catalogue.rules)} rules, but results for {len({result.rule for result in results})}")
    return results


def _result(stig: Stig, rule: Rule, outcome: Outcome | None) -> Result:
    ended = outcome or Outcome("not_reviewed", rule.not_reviewed or "")
    return Result(
        rule=rule.id,
        stig=stig,
        rule_id=rule.rule_id,
        version_id=rule.version_id,
        severity=rule.severity,
        category=rule.category,
        requirement=rule.requirement,
        status=ended.status,
        reason=ended.reason,
        reading=ended.reading,
        evidence=ended.evidence,
        asked=ended.asked,
        mended_by=rule.remedy if ended.status == "open" else "",
        seconds=ended.seconds,
    )


def stated(results: tuple[Result, ...], answers: Answers | None) -> tuple[Result, ...]:
    """The results with the site's statements. A rule whose check failed keeps its error: nobody has looked yet."""
    said = {} if answers is None else answers.statements
    return tuple(
        _overridden(result, said[result.rule]) if result.rule in said and result.status != "error" else result
        for result in results
    )


def _overridden(result: Result, said: Statement) -> Result:
    override = Override(
        scanned=result.status,
        justification=said.justification,
        authority=said.authority,
        date=said.date.isoformat(),
    )
    return msgspec.structs.replace(result, status=said.status, override=override)


def asset(facts: Facts) -> Asset:
    """How checklists describe the machine; what it does not tell stays empty."""
    target = facts.machine.target
    try:
        fqdn = facts.text("fqdn").strip()
        links = facts.tree("interfaces")
        mac = next(
            link["address"] for link in links for one in link.get("addr_info", []) if one["local"] == target.address
        )
    except (FactError, StopIteration):
        fqdn = mac = ""
    return Asset(name=target.name, address=target.address, fqdn=fqdn, mac=mac.upper(), image=_image(facts))


def _image(facts: Facts) -> str:
    """The root hash on the kernel's command line, by which the root is verified at every read; empty where there is none."""
    try:
        words = facts.text("kernel_arguments").split()
    except FactError:
        return ""
    return next((word.removeprefix(ROOT_HASH) for word in words if word.startswith(ROOT_HASH)), "")


def crypto(facts: Facts) -> Crypto:
    """Which cryptographic module the reports name; `unknown` when the machine does not tell."""
    try:
        return module(facts.cli("show fips"), words.providers(facts.text("providers")))
    except FactError as error:
        return Crypto(module="module unknown", validation=str(error))
