"""Whose certificate pushes: of all that the UEM's authorities have issued to clients, the one of the UEM's name."""

import contextlib
import http.client
import ssl
from pathlib import Path

import msgspec
import pytest

from tests.agent.stage import Pki, Stage, openssl
from tests.agent.test_ports import GOOD, call, push
from tests.agent.test_push_door import pushes_of, start

PUSH = msgspec.json.encode({"decisions": [GOOD]})
UPN = "URI:CN=uem-client,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:CN=uem-client"


def issue(pki: Pki, name: str, subject: str, names: str = "IP:127.0.0.1") -> str:
    """A client's certificate of the UEM's own authority with this subject and these alternative names; its file's name."""
    if not Path(pki.folder, f"{name}.pem").exists():
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8"]
        extensions = ["-addext", f"subjectAltName={names}", "-addext", "extendedKeyUsage=clientAuth"]
        signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2"]
        files = ["-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        openssl("req", "-x509", *curve, *files, *signing, *extensions, folder=pki.folder)
    return name


@pytest.mark.parametrize(
    ("name", "subject", "names", "found"),
    [
        ("thief-other", "/CN=agent2", "IP:127.0.0.1", "CN=agent2"),
        ("thief-san", "/CN=thief", "DNS:uem-client,email:uem-client@lab.test", "CN=thief"),
        ("thief-upn", "/CN=thief2", UPN, "CN=thief2"),
        ("thief-case", "/CN=UEM-client", "IP:127.0.0.1", "CN=UEM-client"),
        ("thief-blank", "/CN=uem-client ", "IP:127.0.0.1", r"CN=uem-client\\ "),
        ("thief-more", "/O=Example/CN=uem-client", "IP:127.0.0.1", "CN=uem-client,O=Example"),
        ("thief-twice", "/CN=thief/CN=uem-client", "IP:127.0.0.1", "CN=uem-client,CN=thief"),
        ("thief-comma", "/O=x,CN=uem-client", "IP:127.0.0.1", r"O=x\\,CN=uem-client"),
        ("thief-unit", "/OU=uem-client", "IP:127.0.0.1", "OU=uem-client"),
        ("thief-none", "/", "DNS:uem-client", ""),
    ],
)
def test_of_the_same_authority_no_other_name_pushes(
    stage: Stage, name: str, subject: str, names: str, found: str
) -> None:
    """Whatever its alternative names say, and however near its subject comes. It is audited with what was found."""
    issue(stage.pki, name, subject, names)
    pushes_of(stage, "127.0.0.1/32")
    with stage.audit() as trail:
        start(stage)
        with contextlib.suppress(ssl.SSLError, ConnectionError, http.client.HTTPException):
            call(stage.pki, name, stage.push_port, "POST", "/v1/decisions", PUSH)
        line = trail.until("uem_push_refused")[-1]
    assert line["detail"] == f"127.0.0.1: the certificate of '{found}' is not that of the UEM"
    assert (stage.listed(), stage.status()["push_peers_refused"], stage.status()["pushes"]) == ([], 1, 0)
    assert push(stage, GOOD)[0] == 204  # the UEM goes on pushing


def test_a_certificate_of_that_name_from_another_authority_is_worth_nothing(stage: Stage) -> None:
    """The name alone is anybody's to write."""
    pushes_of(stage, "127.0.0.1/32")
    forged = issue_forged(stage.pki)
    with stage.audit() as trail:
        start(stage)
        with contextlib.suppress(ssl.SSLError, ConnectionError, http.client.HTTPException):
            call(stage.pki, forged, stage.push_port, "POST", "/v1/decisions", PUSH)
        line = trail.until("uem_push_refused")[-1]
    assert line["detail"].startswith("127.0.0.1: certificate refused: ")
    assert stage.listed() == []


def issue_forged(pki: Pki) -> str:
    """A certificate of the UEM's name from the strangers' authority."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    signing = [
        "-CA",
        "strangers.pem",
        "-CAkey",
        "strangers.key",
        "-days",
        "2",
        "-addext",
        "extendedKeyUsage=clientAuth",
    ]
    files = ["-subj", "/CN=uem-client", "-keyout", "forged.key", "-out", "forged.pem"]
    openssl("req", "-x509", *curve, *files, *signing, folder=pki.folder)
    return "forged"
