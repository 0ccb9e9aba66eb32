"""The FIPS state, and the TLS versions of everything that listens or dials."""

import pytest

from stig.facts import Facts
from stig.judge import crypto as judge
from stig.parse import rsyslog, words
from stig.probe import tls
from stig.recorder import Prove
from stig.target import GATEWAY_PORT, PORTAL_PORT

LISTENERS = (("the gateway", GATEWAY_PORT), ("the portal", PORTAL_PORT))


@pytest.mark.stig("V-250995")
def test_the_appliance_runs_in_fips_mode(facts: Facts, prove: Prove) -> None:
    """By the CLI's own words, and by what the running library refuses."""
    shown = facts.cli("show fips")
    providers = words.providers(facts.text("providers"))
    md5, sha256 = facts.answer("md5").status, facts.answer("sha256").status
    prove(judge.fips(judge.Fips(shown, providers, md5, sha256)))


@pytest.mark.stig("V-251013")
def test_only_tls_1_2_is_spoken(facts: Facts, prove: Prove) -> None:
    """Every other version is refused in a real handshake; what dials out is limited in its settings."""
    address = facts.machine.target.address
    answers = {
        (what, port): tuple(tls.ask(address, port, version) for version in tls.VERSIONS) for what, port in LISTENERS
    }
    logs = rsyslog.secured(facts.text("rsyslog"))
    prove(judge.tls_versions(judge.Tls(answers, facts.struct("runtime", judge.Runtime), logs)))
