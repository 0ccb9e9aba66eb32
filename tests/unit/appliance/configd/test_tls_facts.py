"""What is shown of certificates, and of the TLS that a port speaks."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Thread

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.configd import facts
from appliance.configd.errors import RefusedError
from appliance.configd.facts import tls
from appliance.configd.facts.certificates import COLUMNS
from appliance.configd.facts.context import Context
from appliance.features.tls import AUTHORITY, certificate_path
from appliance.keyring import request_path
from tests.site_pki import NOW, authority, named, server
from tests.unit.appliance.configd.shown import Box, pairs, rows

ROOT = authority("root")
FIRST = server(ROOT, ends=NOW + timedelta(days=10))
SECOND = server(ROOT, ends=NOW + timedelta(days=90))


def test_all_certificates_are_shown_with_what_is_ready_beside_them(box: Box, context: Context) -> None:
    context = replace(context, now=NOW.timestamp())
    box.files |= {AUTHORITY: ROOT.pem, certificate_path("portal"): FIRST.pem, certificate_path("agent"): "half"}
    servers = {
        "portal": {
            "certificate": FIRST.pem + ROOT.pem,
            "second": {"certificate": SECOND.pem + ROOT.pem, "from": "2026-06-02T00:00Z"},
        }
    }
    assert context.running is not None
    kept = msgspec.structs.replace(context.running, tree={"certificates": {"servers": servers}})
    context = replace(context, running=kept)
    told = [dict(zip(COLUMNS, row, strict=True)) for row in rows(facts.show("certificates", "", context))]
    assert [(one["certificate"], one["use"], one["made by"]) for one in told] == [
        ("ca", "own authority", "appliance"),
        ("portal", "active (first)", "uploaded"),
        ("portal", "second, takes over 2026-06-02 00:00 UTC", "uploaded"),
    ]
    assert (told[1]["days left"], told[1]["ends"], told[1]["names"]) == ("10", "2026-06-11 12:00", "gateway.lab.test")
    assert told[1]["SHA-256"] == FIRST.certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    late = replace(context, now=(NOW + timedelta(days=20)).timestamp())
    assert rows(facts.show("certificates", "", late))[1][COLUMNS.index("days left")] == "ended"


def test_one_services_certificate_is_shown_with_its_request(box: Box, context: Context) -> None:
    box.files |= {certificate_path("portal"): FIRST.pem, request_path("portal"): REQUEST}
    told = pairs(facts.show("certificates", "portal", context))
    assert told["request (PKCS #10)"].startswith("-----BEGIN CERTIFICATE REQUEST-----")
    assert [row[1] for row in rows(facts.show("certificates", "", context))] == ["active", "requested"]
    with pytest.raises(RefusedError, match="allowed: client, uem"):
        facts.show("certificates", "/etc/shadow", context)


def _request() -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(named("gateway.lab.test"))
    return builder.sign(FIRST.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


REQUEST = _request()


@contextmanager
def served(folder: Path, low: ssl.TLSVersion, high: ssl.TLSVersion, *, client: bool = False) -> Iterator[int]:
    """A real TLS server on loopback; with `client` it wants a certificate of whoever connects."""
    (folder / "both.pem").write_text(FIRST.pem + FIRST.key_pem)
    (folder / "root.pem").write_text(ROOT.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = low, high
    context.load_cert_chain(folder / "both.pem")
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "root.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _peer = listener.accept()
                    with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(1)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("client", [False, True], ids=["anybody", "with a certificate"])
@pytest.mark.parametrize(
    ("low", "high", "taken"), [("1.2", "1.2", ["1.2"]), ("1.3", "1.3", ["1.3"]), ("1.2", "1.3", ["1.2", "1.3"])]
)
def test_the_versions_a_port_takes_are_seen_in_its_answer(
    tmp_path: Path,
    low: str,
    high: str,
    taken: list[str],
    client: bool,  # noqa: FBT001 - a table
) -> None:
    """Also where the handshake cannot succeed, for want of the UEM's certificate."""
    versions = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
    with served(tmp_path, versions[low], versions[high], client=client) as port:
        assert [version for version in versions if tls.takes("127.0.0.1", port, version)] == taken


def test_a_port_nobody_listens_on_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    assert tls.takes("127.0.0.1", port, "1.2") is None
