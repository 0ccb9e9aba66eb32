"""Log-in to the portal of the running appliance by certificate: the lab's cards, one good and one revoked."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from images.lab import cards
from images.paths import Layout
from images.run import run
from tests.appliance.card_holder import SECONDS, browser, enter
from tests.lab import Lab

pytestmark = pytest.mark.appliance


def audited(lab: Lab) -> list[dict[str, str]]:
    """The log-ins by certificate in the audit trail."""
    lines = lab.root("tail", "-n", "200", "/var/log/auth.log").stdout.splitlines()
    found = (line[line.index("{") :] for line in lines if '"event":"session.login_certificate"' in line)
    return [json.loads(line) for line in found]


def test_a_card_logs_in_without_a_password(lab: Lab, layout: Layout) -> None:
    """As the one account with its EDIPI, audited with the certificate's subject and serial number."""
    with browser(lab, layout, cards.CARD) as session:
        assert enter(lab, session) == (303, "")
        assert session.get(f"{lab.portal_url}/api/v1/status", timeout=SECONDS).status_code == 200
    last = audited(lab)[-1]
    assert (last["user"], last["role"], last["result"]) == (lab.admin.user, "administrator", "ok")
    assert f"CN=ADMINISTRATOR.LAB.{cards.EDIPI}" in last["path"]
    assert "serial 1" in last["path"]


def test_a_revoked_card_and_none_at_all_are_told_so(lab: Lab, layout: Layout) -> None:
    with browser(lab, layout, cards.REVOKED) as session:
        status, said = enter(lab, session)
        assert (status, "has been revoked" in said) == (401, True), said
    last = audited(lab)[-1]
    assert (last["user"], last["result"]) == (lab.admin.user, "authentication")
    with browser(lab, layout, cards.CARD) as session:  # which forgets the failure
        assert enter(lab, session) == (303, "")
    with browser(lab, layout) as session:
        status, said = enter(lab, session)
        assert (status, "showed no certificate" in said) == (401, True), said


def test_a_card_of_another_authority_does_not_pass_the_handshake(lab: Lab, layout: Layout, tmp_path: Path) -> None:
    """And the journal says so."""
    cards.ensure(tmp_path)  # of the same names, and another key
    with lab.http() as session:
        session.cert = (str(tmp_path / f"{cards.CARD}.pem"), str(tmp_path / f"{cards.CARD}.key"))
        with pytest.raises((requests.exceptions.ConnectionError, ssl.SSLError)):
            session.get(f"{lab.portal_url}/login", timeout=SECONDS)
    said = lab.root("journalctl", "-u", "sentry-tls-proxy.service", "-n", "20", "--no-pager").stdout
    assert "certificate verify failed" in said


def test_the_key_of_8443_is_the_proxys_and_the_portal_has_no_network(lab: Lab) -> None:
    owner = lab.root("stat", "-c", "%U:%G %a", "/var/lib/sentry/tls/portal/key.pem").stdout.strip()
    assert owner == "root:sentry-tls-proxy 640"
    main = lab.root("systemctl", "show", "-P", "MainPID", "sentry-portal.service").stdout.strip()
    links = lab.root("nsenter", "-t", main, "-n", "ip", "-br", "link").stdout
    assert [line.split()[0] for line in links.splitlines()] == ["lo"]
    listening = lab.root("ss", "-Hltnp", "sport", "=", ":8443").stdout
    proxy = lab.root("systemctl", "show", "-P", "MainPID", "sentry-tls-proxy.service").stdout.strip()
    assert f"pid={proxy}," in listening


def test_nobody_else_reaches_the_portals_socket(lab: Lab) -> None:
    """It believes what is said there of where somebody sits."""
    dial = "import socket; socket.socket(socket.AF_UNIX).connect('/run/sentry-portal/portal.sock')"
    for account in ("sentry-gateway", "sentry-agent", "sentry-uem", "sentry-alerts", "nobody"):
        done = lab.root("setpriv", "--reuid", account, "--clear-groups", "python3", "-I", "-c", dial, check=False)
        assert "PermissionError" in done.stderr, account


@pytest.fixture
def stopped(lab: Lab) -> Iterator[None]:
    """While this holds, the portal does not run."""
    lab.root("systemctl", "stop", "sentry-portal.service")
    yield
    lab.root("systemctl", "start", "sentry-portal.service")


def test_without_the_portal_8443_says_so(lab: Lab, stopped: None) -> None:
    with lab.http() as session:
        answer = session.get(f"{lab.portal_url}/login", timeout=SECONDS)
    assert (answer.status_code, "does not run" in answer.text) == (503, True)


def test_where_certificates_are_required_no_password_is_taken(lab: Lab, layout: Layout) -> None:
    """And the page says so; the configuration before it is back afterwards."""
    enable = ("enable", lab.enable_secret)
    kept = json.loads(lab.cli(*enable, "show revisions | json").stdout)["rows"]
    number = next(row["revision"] for row in kept if row["current"] == "*")
    lab.cli(*enable, "configure terminal", "portal certificate_login mode required", "commit")
    try:
        with lab.http() as session:
            page = session.get(f"{lab.portal_url}/login", timeout=SECONDS).text
        assert "by certificate only" in page
        assert 'name="password"' not in page
        with browser(lab, layout, cards.CARD) as session:
            assert enter(lab, session) == (303, "")
    finally:
        lab.cli(*enable, "configure terminal", f"rollback {number}")


def test_the_port_names_the_lab_authority_and_takes_up_no_session(lab: Lab, layout: Layout) -> None:
    """Each connection is a whole handshake, in FIPS mode too."""
    argv: list[str | Path] = ["openssl", "s_client", "-connect", lab.portal_url.removeprefix("https://"), "-reconnect",
            "-cert", layout.lab / f"{cards.CARD}.pem", "-key", layout.lab / f"{cards.CARD}.key"]  # fmt: skip
    said = run(argv, stdin="", check=False).stdout
    assert "CN = Lab card CA" in said
    assert said.count("New, TLSv1.2") > 1
    assert "Reused" not in said
