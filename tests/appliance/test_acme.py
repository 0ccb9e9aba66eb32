"""A real ACME server beside the running appliance: the portal has its certificates from it, and keeps them while it is away.

The server is at the host's end of the management link. It finds the appliance's name at its address in the device zone, where
port 80 answers by default.
"""

import contextlib
import hashlib
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from images.lab.zones import MANAGEMENT
from images.paths import Layout
from tests.acme_server import AcmeServer, serving
from tests.appliance.lab_server import certificate_of
from tests.lab import Lab

pytestmark = pytest.mark.appliance

HOST = str(MANAGEMENT.link.host_address)
PORT = 14_000
PORTAL = 8443
HOSTNAME = "gateway.lab.test"  # of sites/lab.yml
PATIENCE_SECONDS = 60.0
SERVICE = "sentry-acme.service"


def until(holds: Callable[[], object]) -> None:
    """Wait for what comes by itself."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.25)


@pytest.fixture(scope="module")
def certificate(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The ACME server's own, of the authority that the lab's settings name for other servers."""
    return certificate_of(layout, tmp_path_factory.mktemp("acme"), "acme", HOST)


Running = Callable[[], contextlib.AbstractContextManager[AcmeServer]]


@pytest.fixture
def running(lab: Lab, layout: Layout, certificate: tuple[str, str], tmp_path: Path) -> Running:
    """What runs the ACME server for a while; each time it is another authority."""
    trust = layout.lab / "backend-ca.pem"
    return lambda: serving(
        tmp_path, certificate, trust, host=HOST, port=PORT, resolves_to=lab.addresses.device, proof_port=80
    )


@pytest.fixture
def configure(lab: Lab) -> Iterator[Callable[..., str]]:
    """Lines of CONFIG mode, typed by an administrator; afterwards the revision of before is committed again."""
    enter = ("enable", lab.enable_secret)
    kept = json.loads(lab.cli(*enter, "show revisions | json").stdout)["rows"]
    number = next(row["revision"] for row in kept if row["current"] == "*")
    # What an earlier test had would be shown again, and what it had ordered and did not get would wait for its next attempt.
    lab.root("rm", "-f", "/var/lib/sentry/tls/portal/acme.pem", "/var/lib/sentry/tls/portal/order.pem")
    yield lambda *lines: lab.cli(*enter, "configure terminal", *lines).stdout
    lab.cli(*enter, "configure terminal", f"rollback {number}")
    assert lab.root("systemctl", "is-active", SERVICE, check=False).stdout.strip() == "inactive"
    assert "dport 80 " not in lab.root("nft", "list", "ruleset").stdout


def order_from(server: AcmeServer, root: str) -> list[str]:
    """The lines that have the portal's certificate come from a server."""
    return [
        f"certificates acme directory {server.directory}",
        "certificates acme terms_agreed true",
        "certificates acme ca_certificates",
        *server.trust.read_text(encoding="utf-8").splitlines(),
        ".",
        "certificates acme issuer_certificates",
        *root.splitlines(),
        ".",
        "certificate portal acme",
        "commit",
    ]


def about(lab: Lab) -> dict[str, str]:
    """What `show certificates portal` says."""
    said: dict[str, Any] = json.loads(lab.cli("show certificates portal | json").stdout)
    return dict(said["facts"])


def port_shows(lab: Lab) -> str:
    """The fingerprint of what a new connection to the portal sees."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((lab.addresses.management, PORTAL), timeout=PATIENCE_SECONDS) as connection,
        context.wrap_socket(connection) as secured,
    ):
        return hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()


def test_the_portal_has_its_certificate_from_an_acme_server(
    lab: Lab, running: Running, configure: Callable[..., str]
) -> None:
    """Ordered by a commit, renewed by a word; whoever believes the server's root takes the chain, and no key is elsewhere."""
    before = port_shows(lab)
    with running() as server:
        root = server.root()
        configure(*order_from(server, root))
        until(lambda: about(lab)["made by"] == "ACME")
        first = port_shows(lab)
        assert first != before
        shown = about(lab)
        assert (shown["names"], shown["order"]) == (HOSTNAME, "none")
        assert "Pebble Intermediate" in shown["issuer"]
        context = ssl.create_default_context(cadata=root)
        with (
            socket.create_connection((lab.addresses.management, PORTAL), timeout=PATIENCE_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=HOSTNAME) as secured,
        ):
            assert secured.version() == "TLSv1.2"
        said = lab.cli("enable", lab.enable_secret, "certificate portal renew").stdout
        assert "A certificate is ordered" in said
        until(lambda: port_shows(lab) != first)
    assert "certificate.changed" in lab.cli("enable", lab.enable_secret, "show log").stdout
    mine = lab.root("find", "/var/lib/sentry/acme", "-type", "f", "-printf", "%m %u:%g %f\\n").stdout
    assert set(mine.splitlines()) == {
        "600 sentry-acme:sentry-acme account.key",
        "600 sentry-acme:sentry-acme state.json",
    }
    assert "PRIVATE KEY" not in lab.root("cat", "/var/lib/sentry/acme/state.json").stdout


def test_a_server_that_is_away_is_said_and_the_portal_goes_on(
    lab: Lab, running: Running, configure: Callable[..., str]
) -> None:
    """The certificate stays; `show certificates` says what failed and when it is tried next."""
    before = port_shows(lab)
    with running() as server:
        lines = order_from(server, server.root())
    configure(*lines)
    until(lambda: "problem" in about(lab))
    shown = about(lab)
    assert "refused" in shown["problem"]
    assert shown["order"].startswith("tried next 20")
    assert port_shows(lab) == before
    rows = json.loads(lab.cli("show certificates | json").stdout)["rows"]
    assert [row["made by"] for row in rows if row["certificate"] == "portal"][-1] == "ACME"
    until(lambda: "certificate.not_obtained" in lab.cli("enable", lab.enable_secret, "show log").stdout)


def test_port_80_answers_nobody_while_nothing_is_proved(
    lab: Lab, running: Running, configure: Callable[..., str]
) -> None:
    """The packet filter lets it through, and nobody is there."""
    with running() as server:
        configure(*order_from(server, server.root()))
        until(lambda: about(lab)["made by"] == "ACME")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((lab.addresses.device, 80), timeout=10).close()
    with pytest.raises(OSError, match=r"timed out|unreachable|refused"):
        socket.create_connection((lab.addresses.management, 80), timeout=3).close()


def test_the_service_cannot_ask_configd_nor_read_keys(
    lab: Lab, running: Running, configure: Callable[..., str]
) -> None:
    """Somebody who has taken it over has its account and its mounts, and tries."""
    with running() as server:
        configure(*order_from(server, server.root()))
        until(lambda: about(lab)["made by"] == "ACME")
    pid = lab.root("systemctl", "show", "--property=MainPID", "--value", SERVICE).stdout.strip()
    who = ["setpriv", "--reuid=sentry-acme", "--regid=sentry-acme", "--clear-groups"]

    def reads(path: str) -> bool:
        return lab.root("nsenter", "--target", pid, "--mount", *who, "test", "-r", path, check=False).code == 0

    assert reads("/etc/sentry/acme.json")
    assert [
        path
        for path in (
            "/var/lib/sentry/tls/portal/key.pem",
            "/var/lib/sentry/tls/keys",
            "/var/lib/sentry/config",
            "/var/lib/sentry/secrets",
            "/run/sentry-configd/configd.sock",
            "/etc/sentry/runtime.json",
        )
        if reads(path)
    ] == []
