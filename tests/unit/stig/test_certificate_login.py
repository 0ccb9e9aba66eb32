"""V-250988 and V-250994: what is a finding, and what is not."""

import pytest

from stig.judge import certificate_login as judge
from stig.probe.tls import named_in

GOOD = {
    "mode": "optional",
    "mapping": "edipi",
    "authorities": "CN=Root; CN=Cards",
    "revocation": "strict",
    "lists hold until": "2026-12-01T00:00:00Z",
    "accounts": "2",
    "accounts without an EDIPI": "0",
}
FILE = "/var/lib/sentry/tls/administrators/authorities.pem"
SAID = """\
CONNECTED(00000003)
---
Acceptable client certificate CA names
CN = Root
C = US, O = Lab, CN = Cards
Client Certificate Types: RSA sign, ECDSA sign
---
New, TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384
"""


def status(shown: dict[str, str], file: str | None = FILE, named: tuple[str, ...] = ("CN = Root",)) -> str:
    return judge.certificate_login(judge.CertificateLogin(shown, file, named)).status


@pytest.mark.parametrize("mode", ["optional", "required"])
def test_certificates_that_are_asked_for_and_lead_to_accounts_are_no_finding(mode: str) -> None:
    assert status({**GOOD, "mode": mode}) == "not_a_finding"
    assert judge.edipi({**GOOD, "mode": mode}).status == "not_a_finding"


@pytest.mark.parametrize(
    "change", [{"mode": "off"}, {"authorities": "none"}, {"mapping": "none"}, {"revocation": "off"}]
)
def test_what_is_not_set_up_is_a_finding(change: dict[str, str]) -> None:
    assert status({**GOOD, **change}) == "open"


def test_what_is_set_up_and_not_done_is_a_finding() -> None:
    """The file says whose certificates are asked for, and the port whether they are."""
    assert status(GOOD, file=None) == "open"
    assert status(GOOD, named=()) == "open"
    assert status({}) == "open"


@pytest.mark.parametrize(
    "change",
    [{"mode": "off"}, {"mapping": "edipi, upn"}, {"mapping": "upn"}, {"accounts without an EDIPI": "1"}],
)
def test_an_account_without_an_edipi_or_another_way_to_one_is_a_finding(change: dict[str, str]) -> None:
    assert judge.edipi({**GOOD, **change}).status == "open"
    assert judge.edipi({}).status == "open"


def test_the_names_are_read_of_what_openssl_prints() -> None:
    assert named_in(SAID) == ("CN = Root", "C = US, O = Lab, CN = Cards")
    assert named_in(SAID.replace("Acceptable client certificate CA names", "No client certificate CA names sent")) == ()
