"""Which certificate each port of the running appliance shows."""

import hashlib
import re
import ssl

import pytest

from images.run import run
from tests.lab import Lab

pytestmark = pytest.mark.appliance

PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def fingerprint(shown: str) -> str:
    """SHA-256 of the first certificate in what s_client says."""
    found = PEM.search(shown)
    assert found is not None, shown
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(found[0])).hexdigest()


def test_each_port_shows_a_certificate_of_its_own(lab: Lab) -> None:
    """Row 136: 443, 8443 and the UEM's port, three fingerprints. The UEM's is shown before it asks for a client's."""
    ask = ["openssl", "s_client", "-connect"]
    shown = [
        run([*ask, f"{lab.addresses.device}:443"], stdin="", check=False).stdout,
        run([*ask, f"{lab.addresses.management}:8443"], stdin="", check=False).stdout,
        lab.root(*ask, lab.uem_url.removeprefix("https://"), stdin="", check=False).stdout,
    ]
    assert len({fingerprint(one) for one in shown}) == len(shown)
