"""Log-in to the portal by certificate."""

import msgspec
import pytest

from stig.facts import Facts
from stig.judge import certificate_login as judge
from stig.probe import tls
from stig.recorder import Prove
from stig.target import PORTAL_PORT

SHOW = "show certificate-login"


class Shown(msgspec.Struct, frozen=True):
    """`show certificate-login | json`."""

    facts: dict[str, str]


class Asked(msgspec.Struct, frozen=True):
    """Whose certificates are asked for."""

    client_authorities: str | None


class ProxyFile(msgspec.Struct, frozen=True):
    """What the settings of the process on 8443 say."""

    tls: Asked


@pytest.mark.stig("V-250988")
def test_administrators_are_asked_for_their_certificates(facts: Facts, prove: Prove) -> None:
    """As the settings say it, and as the port does it."""
    shown = facts.cli_data(SHOW, Shown).facts
    named = tls.authorities_named(facts.machine.target.address, PORTAL_PORT)
    file = facts.struct("tls_proxy", ProxyFile).tls.client_authorities
    prove(judge.certificate_login(judge.CertificateLogin(shown, file, named)))


@pytest.mark.stig("V-250994")
def test_every_administrator_has_an_edipi_and_certificates_lead_to_it(facts: Facts, prove: Prove) -> None:
    """No account without one, and no other way from a certificate to an account."""
    prove(judge.edipi(facts.cli_data(SHOW, Shown).facts))
