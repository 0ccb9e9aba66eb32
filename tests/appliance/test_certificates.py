"""Which certificate each port of the running appliance shows, and that the site's own come and go without a lost connection."""

import base64
import hashlib
import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from images.run import run
from tests.lab import Lab
from tests.site_pki import Signed, answer, authority, packed, server

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


# --- the site's own --------------------------------------------------------------------------------------------------

PORTAL = 8443
HOSTNAME = "gateway.lab.test"  # of sites/lab.yml
PASSWORD = "transport password"
PATIENCE_SECONDS = 60.0
SHORT = timedelta(seconds=40)  # long enough for a commit, short enough to wait for
REQUEST = re.compile(r"-----BEGIN CERTIFICATE REQUEST-----.*?-----END CERTIFICATE REQUEST-----\n", re.DOTALL)


class Site:
    """The site's authority, which believes it is the time it is."""

    def __init__(self) -> None:
        began, ends = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(days=30)
        self.root = authority("site root", starts=began, ends=ends)
        self.middle = authority("site issuing", self.root, starts=began, ends=ends)

    @property
    def above(self) -> str:
        """The authorities as PEM."""
        return self.middle.pem + self.root.pem

    def server(self, name: str, ends: timedelta) -> Signed:
        """A server's certificate that ends after so long."""
        now = datetime.now(UTC)
        return server(self.middle, names=(name,), starts=now - timedelta(hours=1), ends=now + ends)

    def packed(self, one: Signed) -> list[str]:
        """What one types to upload it with its key."""
        data = base64.encodebytes(packed(one, (self.middle, self.root), PASSWORD)).decode()
        return [*data.splitlines(), ".", PASSWORD]


@pytest.fixture(scope="module")
def site() -> Site:
    """One authority for all tests here."""
    return Site()


Configure = Callable[..., str]


@pytest.fixture
def configure(lab: Lab) -> Iterator[Configure]:
    """Lines of CONFIG mode, typed by an administrator; afterwards the revision of before is committed again."""
    enter = ("enable", lab.enable_secret)
    kept = json.loads(lab.cli(*enter, "show revisions | json").stdout)["rows"]
    number = next(row["revision"] for row in kept if row["current"] == "*")
    yield lambda *lines: lab.cli(*enter, "configure terminal", *lines).stdout
    lab.cli(*enter, "configure terminal", f"rollback {number}")


def port_shows(lab: Lab, port: int = PORTAL) -> str:
    """The fingerprint of what a new connection to the management address sees."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((lab.addresses.management, port), timeout=PATIENCE_SECONDS) as connection,
        context.wrap_socket(connection) as secured,
    ):
        return hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()


def of(pem: str) -> str:
    """The fingerprint of a certificate."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def until(holds: Callable[[], bool]) -> None:
    """Wait for what comes by itself."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.25)


def certificates(lab: Lab, service: str) -> list[dict[str, Any]]:
    """What `show certificates` says of one service."""
    rows = json.loads(lab.cli("show certificates | json").stdout)["rows"]
    return [row for row in rows if row["certificate"] == service]


def test_a_request_of_the_appliance_is_answered_shown_and_rolled_back(
    lab: Lab, site: Site, configure: Configure
) -> None:
    """The key never leaves the machine, where FIPS mode makes it; a client that believes the site's root takes the chain."""
    before = port_shows(lab)
    (row,) = certificates(lab, "portal")
    made_by = row["made by"]
    found = REQUEST.search(configure("certificate portal csr"))
    assert found is not None
    now = datetime.now(UTC)
    signed = answer(found[0], site.middle, starts=now - timedelta(hours=1), ends=now + timedelta(days=20))
    assert [row["use"] for row in certificates(lab, "portal")] == ["active", "requested"]
    configure("certificate portal upload", *(signed + site.above).splitlines(), ".", "commit comment the site's")
    assert port_shows(lab) == of(signed)
    (row,) = certificates(lab, "portal")
    assert (row["use"], row["made by"], row["days left"]) == ("active", "uploaded", "20")
    assert row["issuer"] == "CN=site issuing,O=Lab"
    context = ssl.create_default_context(cadata=site.root.pem)
    with (
        socket.create_connection((lab.addresses.management, PORTAL), timeout=PATIENCE_SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=HOSTNAME) as secured,
    ):
        assert secured.version() == "TLSv1.2"
    keys = lab.root("find", "/var/lib/sentry/tls", "-name", "*key*", "-type", "f", "-printf", "%m %u:%g %p\\n").stdout
    assert "640 root:sentry-tls-proxy /var/lib/sentry/tls/portal/key.pem" in keys
    assert {line.split()[0] for line in keys.splitlines()} <= {"600", "640"}
    kept = json.loads(lab.cli("enable", lab.enable_secret, "show revisions | json").stdout)["rows"]
    running = int(next(row["revision"] for row in kept if row["current"] == "*"))
    configure(f"rollback {running - 1}")
    (row,) = certificates(lab, "portal")
    assert row["made by"] == made_by
    assert port_shows(lab) not in (before, of(signed))  # the appliance makes itself a new one
    configure(f"rollback {running}")
    assert port_shows(lab) == of(signed)


def test_a_second_certificate_takes_over_when_the_first_ends_and_no_connection_is_lost(
    lab: Lab, site: Site, configure: Configure
) -> None:
    """A browser's open connection is served before and after; the portal's process is the same one."""
    first, second = site.server(HOSTNAME, SHORT), site.server(HOSTNAME, timedelta(days=10))
    main = lab.root("systemctl", "show", "-P", "MainPID", "sentry-tls-proxy.service").stdout
    lines = ["certificate portal upload-pkcs12", *site.packed(first)]
    configure(*lines, "certificate portal second upload-pkcs12", *site.packed(second), "commit")
    assert port_shows(lab) == of(first.pem)
    assert [row["use"].split(",")[0] for row in certificates(lab, "portal")] == ["active (first)", "second"]
    context = ssl.create_default_context(cadata=site.root.pem)
    with (
        socket.create_connection((lab.addresses.management, PORTAL), timeout=PATIENCE_SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=HOSTNAME) as secured,
    ):
        assert asked(secured) == b"HTTP/1.1 200"
        until(lambda: port_shows(lab) == of(second.pem))
        assert datetime.now(UTC) >= first.certificate.not_valid_after_utc
        assert asked(secured) == b"HTTP/1.1 200"
    assert lab.root("systemctl", "show", "-P", "MainPID", "sentry-tls-proxy.service").stdout == main
    said = [row["use"] for row in certificates(lab, "portal")]
    assert said == ["active (second)", "first, over"]
    assert "certificate.changed" in lab.cli("enable", lab.enable_secret, "show log").stdout


def asked(secured: ssl.SSLSocket) -> bytes:
    """The status of the log-in page on a connection that stays open; all of the answer is read."""
    secured.sendall(f"GET /login HTTP/1.1\r\nHost: {HOSTNAME}:{PORTAL}\r\n\r\n".encode())
    held = b""
    while b"\r\n\r\n" not in held:
        held += secured.recv(65_536)
    head, _, body = held.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    assert length is not None, head
    while len(body) < int(length[1]):
        body += secured.recv(65_536)
    return head[:12]


def test_what_must_not_be_shown_is_refused_at_the_prompt(lab: Lab, site: Site) -> None:
    """With what was found and what is allowed; nothing of it is in the candidate or the audit."""
    stranger = site.server("www.example.org", timedelta(days=5))
    enter = ("enable", lab.enable_secret, "configure terminal")
    done = lab.cli(*enter, "certificate gateway upload-pkcs12", *site.packed(stranger), "diff", check=False)
    assert done.code == 1
    assert "the alternative name gateway.lab.test" in done.stderr
    wrong = lab.cli(*enter, "certificate gateway upload-pkcs12", *site.packed(stranger)[:-1], "wrong", check=False)
    assert "a file that this password does not open" in wrong.stderr
    said = lab.cli("enable", lab.enable_secret, "show log").stdout
    assert "certificate.upload_pkcs12" in said
    assert PASSWORD not in said + done.stdout + done.stderr


def test_every_key_type_serves_devices_in_fips_mode(lab: Lab, configure: Configure) -> None:
    """443 answers with an RSA key and with one on P-384, and takes no suite for the other kind."""
    for kind, sent in (("rsa3072", "RSA"), ("p384", "ECDSA")):
        configure(f"certificates servers gateway key_type {kind}", "commit")
        until(partial(signs_with, lab, sent))


def signs_with(lab: Lab, kind: str) -> bool:
    """Whether the suite that 443 takes is for this kind of key."""
    return suite(lab).split("-")[1] == kind


def suite(lab: Lab) -> str:
    """What a new connection to 443 agrees on."""
    context = ssl.create_default_context(cafile=str(lab.ca_file))
    context.check_hostname = False
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection((lab.addresses.management, 443), timeout=PATIENCE_SECONDS) as connection,
        context.wrap_socket(connection) as secured,
    ):
        return str((secured.cipher() or ("",))[0])


def test_the_versions_of_the_management_ports_are_what_httpd_protocol_says(lab: Lab, configure: Configure) -> None:
    """Asked of the ports themselves; 9090 wants the UEM's certificate, and says its version all the same."""
    said = {row["Port"]: row["TLS Protocols Enabled"] for row in protocols(lab)}
    assert said == {"443": "TLSv1.2", "8443": "TLSv1.2", "9090": "TLSv1.2"}
    configure("httpd protocol TLSv1.2 TLSv1.3", "commit")
    until(lambda: {row["Port"]: row["TLS Protocols Enabled"] for row in protocols(lab)}["9090"] == "TLSv1.2, TLSv1.3")
    said = {row["Port"]: row["TLS Protocols Enabled"] for row in protocols(lab)}
    assert said == {"443": "TLSv1.2", "8443": "TLSv1.2, TLSv1.3", "9090": "TLSv1.2, TLSv1.3"}


def protocols(lab: Lab) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads(lab.cli("show httpd protocol | json").stdout)["rows"]
    return rows


def test_fips_is_the_state_of_each_running_service(lab: Lab) -> None:
    """The module has tested itself, and every service of ours says so of its own OpenSSL."""
    lines = lab.cli("show fips").stdout.splitlines()
    assert lines[0] == "FIPS 140 mode is enabled"
    assert any(
        re.fullmatch(r"self-test: passed, \d+ tests with that of its integrity, run just now", one) for one in lines
    )
    for name in ("gateway", "agent", "uem", "portal"):
        (line,) = [one for one in lines if one.startswith(f"sentry-{name}: ")]
        assert re.fullmatch(rf"sentry-{name}: FIPS 140 mode is enabled; process \d+ has loaded the module", line), line
    assert "sentry-configd: FIPS 140 mode is enabled" in lines
    assert any(line.startswith("validation: module not validated (Debian builds") for line in lines)
