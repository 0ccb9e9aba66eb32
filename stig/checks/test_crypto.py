"""The FIPS state, the TLS versions of everything that listens or dials, and whose certificates are shown."""

from collections.abc import Callable

import pytest

from stig.answers import Answers
from stig.facts import Facts
from stig.judge import crypto as judge
from stig.parse import rsyslog, words
from stig.probe import tls
from stig.recorder import NotReviewed, Prove
from stig.target import GATEWAY_PORT, PORTAL_PORT
from stig.verdict import Point

LISTENERS = (("the gateway", GATEWAY_PORT), ("the portal", PORTAL_PORT))
GATEWAY, PORTAL = LISTENERS


def _suites(facts: Facts, listener: tuple[str, int]) -> Point:
    what, port = listener
    return judge.suites(what, port, tls.ask_weak(_address(facts, port), port))


def _address(facts: Facts, port: int) -> str:
    """Where a listener is asked: devices may come in at another address than administrators."""
    target = facts.machine.target
    return target.gateway if port == GATEWAY_PORT else target.address


def _nothing(_facts: Facts) -> tuple[Point, ...]:
    return ()


def _remote_maintenance(facts: Facts) -> tuple[Point, ...]:
    return (_suites(facts, PORTAL), judge.ssh_ciphers(facts.text("sshd")))


# The check of all these is the CLI's `show fips`; beside it stands what of each rule's aim can be seen.
@pytest.mark.parametrize(
    "more",
    [
        pytest.param(_nothing, marks=pytest.mark.stig("V-250995")),
        pytest.param(_nothing, marks=pytest.mark.stig("V-250997")),
        pytest.param(_remote_maintenance, marks=pytest.mark.stig("V-251001")),
        pytest.param(lambda facts: (_suites(facts, GATEWAY),), marks=pytest.mark.stig("V-251011")),
        pytest.param(lambda facts: (judge.keys(facts.text("keys")),), marks=pytest.mark.stig("V-251012")),
        pytest.param(lambda facts: (_suites(facts, GATEWAY),), marks=pytest.mark.stig("V-251014")),
        pytest.param(_nothing, marks=pytest.mark.stig("V-251036")),
        pytest.param(_nothing, marks=pytest.mark.stig("V-251037")),
        pytest.param(_nothing, marks=pytest.mark.stig("V-251038")),
    ],
)
def test_the_appliance_runs_in_fips_mode(
    facts: Facts, prove: Prove, more: Callable[[Facts], tuple[Point, ...]]
) -> None:
    """By the CLI's own words, by what the running library refuses, and by what each service says of itself."""
    shown = facts.cli("show fips")
    providers = words.providers(facts.text("providers"))
    md5, sha256 = facts.answer("md5").status, facts.answer("sha256").status
    prove(judge.fips(judge.Fips(shown, providers, md5, sha256), *more(facts)))


def _tls(facts: Facts) -> judge.Tls:
    answers = {
        (what, port): tuple(tls.ask(_address(facts, port), port, version) for version in tls.VERSIONS)
        for what, port in LISTENERS
    }
    logs = rsyslog.secured(facts.text("rsyslog"))
    return judge.Tls(answers, facts.struct("runtime", judge.Runtime), logs)


@pytest.mark.stig("V-251013")
def test_only_tls_1_2_is_spoken(facts: Facts, prove: Prove) -> None:
    """Every other version is refused in a real handshake; what dials out is limited in its settings."""
    prove(judge.tls_versions(_tls(facts)))


@pytest.mark.stig("V-251026")
def test_tls_1_2_is_enabled_everywhere(facts: Facts, prove: Prove) -> None:
    """As it is written."""
    prove(judge.tls_1_2_enabled(_tls(facts)))


@pytest.mark.stig("V-251027")
def test_certificates_are_looked_at_on_connections_with_tls_1_2(facts: Facts, prove: Prove) -> None:
    """As it is written, and no backend's certificate is taken that does not hold."""
    prove(judge.tls_1_2_enabled(_tls(facts), strict=True))


@pytest.mark.stig("V-251005")
def test_the_certificates_shown_are_of_approved_authorities(facts: Facts, answers: Answers, prove: Prove) -> None:
    """What devices and administrators see was issued below an authority that the site approves of."""
    if answers.approved_authorities is None:
        raise NotReviewed("needs approved_authorities in the site's answer file: the authorities it approves of")
    approved = answers.approved_authorities
    found = {(what, port): tls.issued_by(_address(facts, port), port, approved) for what, port in LISTENERS}
    prove(judge.authorities(found))
