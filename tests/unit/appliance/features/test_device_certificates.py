"""How devices prove what they are: what reaches the data plane, which files and flows follow, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.features import FEATURES, device_certificates, gateway, values
from appliance.features.base import Tree
from appliance.plan import InvalidError
from appliance.render import render_all
from sentry_runtime.eas.principal import Names
from sentry_runtime.gateway import badge
from sentry_runtime.settings import CertificateHeader, Revocation
from tests.device_pki import DevicePki

from .conftest import MATERIAL

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]
AUTHORITY = (MATERIAL / "authority.pem").read_text()
LISTS = {"crl_urls": ["http://crl.example.com:8080/a.crl"], "ocsp_url": "http://192.0.2.9/"}
BALANCERS = {"networks": ["192.0.2.8/32"]}


def lab_auth(lab_with: LabWith, auth: dict[str, Any], **more: Any) -> Tree:
    """The lab's tree with this way of authentication."""
    return lab_with(lambda tree: tree["gateway"].update({"device_authentication": auth, **more}))


def identity(**more: Any) -> dict[str, Any]:
    """Identity certificates of one authority, with lists and a responder."""
    return {"mode": "identity_certificate", "authorities": AUTHORITY, "revocation": LISTS, **more}


def test_identity_certificates_reach_the_data_plane(lab_with: LabWith) -> None:
    """With paths of files that are rendered, times in seconds, and the table in its order."""
    rows = {"b": {"issuer": "CN=X", "serial": "0b", "user": "b"}, "a": {"issuer": "CN=X", "serial": "0a", "user": "a"}}
    revocation = {**LISTS, "check": "lenient", "refresh_minutes": 5, "lenient_hours": 2}
    auth = identity(issuers=AUTHORITY, mapping=["table", "email"], certificates=rows, revocation=revocation)
    tree = lab_auth(lab_with, auth)
    found = gateway.settings(tree).gateway.device_authentication
    assert (found.mode, found.mapping, [row.user for row in found.table]) == (
        "identity_certificate",
        ("table", "email"),
        ["a", "b"],
    )
    assert found.revocation == Revocation(
        policy="lenient",
        crl_urls=("http://crl.example.com:8080/a.crl",),
        ocsp_url="http://192.0.2.9/",
        refresh_seconds=300.0,
        lenient_seconds=7_200.0,
    )
    files = render_all(tree, FEATURES)
    assert files[str(found.authorities)].text == files[str(found.issuers)].text == AUTHORITY
    assert files[str(found.authorities)].mode == 0o644


def test_the_agent_gets_ways_to_lists_and_responders_and_nobody_else(lab_with: LabWith) -> None:
    """By their hosts and ports, where the hosts are known; only while they are used."""
    tree = lab_auth(lab_with, identity())
    ways = [(flow.port, flow.peers, flow.user, flow.zone) for flow in device_certificates.flows(tree)]
    assert ways == [(8080, (), "sentry-agent", None), (80, ("192.0.2.9",), "sentry-agent", None)]
    off = lab_auth(lab_with, identity(revocation={**LISTS, "check": "off"}))
    assert device_certificates.flows(off) == ()
    assert gateway.settings(off).gateway.device_authentication.revocation is None


def test_lists_of_the_sites_own_are_a_file(lab_with: LabWith, tmp_path: Path) -> None:
    """As openssl writes them."""
    pki = DevicePki(tmp_path)
    pki.authority("devices")
    text = pki.crl("devices").decode()
    tree = lab_auth(lab_with, identity(revocation={"crls": f"# ours\n{text}".replace("# ours\n", "")}))
    assert gateway.render(tree)[device_certificates.LISTS].text == text
    found = gateway.settings(tree).gateway.device_authentication.revocation
    assert found is not None
    assert found.crl_files == (device_certificates.LISTS,)


def test_a_front_end_is_believed_on_every_listener(lab_with: LabWith) -> None:
    """By its own list, which is not that of the balancers."""
    auth = {"mode": "trusted_front_end", "header": "X-Cert", "header_form": "subject", "front_ends": ["192.0.2.7/32"]}
    tree = lab_auth(lab_with, auth, balancers=BALANCERS, require_client_tls=False)
    whole = gateway.settings(tree).gateway
    assert whole.device_authentication.header == CertificateHeader(name="X-Cert", form="subject")
    assert {one.front_ends for one in whole.listeners} == {("192.0.2.7/32",)}
    assert {one.balancers for one in whole.listeners} == {("192.0.2.8/32",)}
    assert badge.load(whole, Names()) is not None  # the data plane takes what is rendered


TRUSTED = {"mode": "trusted_front_end", "header": "X-Cert", "front_ends": ["192.0.2.7/32"]}


@pytest.mark.parametrize(
    ("auth", "path", "found"),
    [
        ({"mode": "group_certificate", "revocation": {"check": "off"}}, "authorities", "nothing"),
        ({"mode": "group_certificate", "authorities": AUTHORITY}, "revocation.check", "strict, without crls"),
        ({**TRUSTED, "front_ends": []}, "front_ends", "none"),
        ({"mode": "trusted_front_end", "front_ends": ["192.0.2.7/32"]}, "header", "nothing"),
        ({"header": "X-Cert"}, "header", "a name"),
        ({"front_ends": ["192.0.2.7/32"]}, "front_ends", "networks"),
        ({**TRUSTED, "front_ends": ["::/0"]}, "front_ends.0", "::/0"),
        ({"authorities": AUTHORITY}, "authorities", "certificates"),
        ({**TRUSTED, "issuers": AUTHORITY}, "issuers", "certificates"),
        (identity(mapping=["table"]), "mapping", "table, and no certificates are listed"),
        (
            identity(certificates={"a": {"issuer": "CN=X", "serial": "0a", "user": "a"}}),
            "certificates",
            "some, and the mapping does not ask",
        ),
        ({**TRUSTED, "revocation": LISTS}, "revocation", "lists or a responder, with trusted_front_end"),
        ({"mode": "certificate"}, "mode", "'certificate'"),
        (identity(mapping=["upn", "dn"]), "mapping.1", "'dn'"),
        (identity(mapping=[]), "mapping", "[]"),
        (identity(revocation={"ocsp_url": "https://a/"}), "revocation.ocsp_url", "'https://a/'"),
        (identity(revocation={"ocsp_url": "http://a b/"}), "revocation.ocsp_url", "'http://a b/'"),
        (identity(revocation={"ocsp_url": "http://u:p@a/"}), "revocation.ocsp_url", "'http://u:p@a/'"),
        (identity(revocation={"ocsp_url": "http://a:0/"}), "revocation.ocsp_url", "'http://a:0/'"),
        (identity(revocation={"crls": AUTHORITY}), "revocation.crls", "'-----BEGIN CERTIFICATE"),
        (identity(mapping=["table"], certificates={"A": {}}), "certificates", "the name 'A'"),
        (
            identity(mapping=["table"], certificates={"a": {"issuer": "Devices", "serial": "0a", "user": "a"}}),
            "certificates.a.issuer",
            "'Devices'",
        ),
        (
            identity(mapping=["table"], certificates={"a": {"issuer": "CN=X", "serial": "x", "user": "a"}}),
            "certificates.a.serial",
            "'x'",
        ),
        ({**TRUSTED, "header": "X Cert"}, "header", "'X Cert'"),
    ],
)
def test_what_nobody_could_pass_by_or_is_without_effect_is_refused(
    lab_with: LabWith, auth: dict[str, Any], path: str, found: str
) -> None:
    """It names the place and what was found."""
    with pytest.raises(InvalidError) as refused:
        lab_auth(lab_with, auth)
    wrong = [one for one in refused.value.problems if one.path.startswith(f"gateway.device_authentication.{path}")]
    assert wrong
    assert wrong[0].found.startswith(found)


def test_certificates_need_client_tls(lab_with: LabWith) -> None:
    """Nobody shows one on a plain port."""
    with pytest.raises(InvalidError, match="identity_certificate, where client TLS is not required"):
        lab_auth(lab_with, identity(), balancers=BALANCERS, require_client_tls=False)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://crl.example.com/a", ("crl.example.com", 80)),
        ("http://192.0.2.1:8080", ("192.0.2.1", 8080)),
        ("http://[2001:db8::1]:81/x?y=z", ("2001:db8::1", 81)),
    ],
)
def test_a_url_leads_to_a_host_and_a_port(lab_with: LabWith, url: str, place: tuple[str, int]) -> None:
    """As the flow names them."""
    lab_auth(lab_with, identity(revocation={"ocsp_url": url}))
    assert values.place_of(url) == place
