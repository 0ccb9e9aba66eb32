"""Log-in by certificate as settings: what is asked for together, and what is rendered."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.features import certificate_login, portal, uem
from appliance.features.base import Tree
from appliance.plan import InvalidError
from tests.device_pki import DevicePki

LabWith = Callable[[Callable[[dict[str, Any]], object]], Tree]


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """A root and the authority below it, with their lists."""
    pki = DevicePki(tmp_path_factory.mktemp("cards"))
    pki.authority("Root")
    pki.authority("Cards", above="Root")
    for name in ("Root", "Cards"):
        pki.crl(name)
    return pki


def pem(pki: DevicePki, *names: str) -> str:
    """Their certificates in one text."""
    return "".join(Path(pki.path(name)).read_text() for name in names)


def lists(pki: DevicePki, *names: str) -> str:
    """Their revocation lists in one text."""
    return "".join((pki.folder / f"{name}.crl.pem").read_text() for name in names)


def site(lab_with: LabWith, held: dict[str, Any], second: dict[str, str] | None = None) -> Tree:
    """The lab with these settings, the administrator with an EDIPI, and maybe a second account."""

    def change(tree: dict[str, Any]) -> None:
        tree["portal"]["certificate_login"] = held
        accounts = tree["users"]["accounts"]
        accounts["admin"]["edipi"] = "1111111111"
        if second is not None:
            accounts["second"] = {**accounts["admin"], "role": "auditor", "edipi": "", **second}

    return lab_with(change)


def good(pki: DevicePki, **change: Any) -> dict[str, Any]:
    return {
        "mode": "optional",
        "authorities": pem(pki, "Root", "Cards"),
        "revocation": {"crls": lists(pki, "Root", "Cards")},
        **change,
    }


def test_what_is_whole_is_taken_and_rendered(lab_with: LabWith, cards: DevicePki) -> None:
    """Two files, whose names the TLS proxy and configd know; the portal learns the mode."""
    tree = site(lab_with, good(cards, mode="required"))
    files = portal.render(tree)
    assert files[certificate_login.AUTHORITIES].text == pem(cards, "Root", "Cards")
    assert files[certificate_login.LISTS].text == lists(cards, "Root", "Cards")
    assert portal.proxy_settings(tree).tls.client_authorities == certificate_login.AUTHORITIES
    assert portal.settings(tree).certificate_login == "required"


def test_turned_off_nothing_is_rendered_and_nobody_is_asked(lab_with: LabWith, cards: DevicePki) -> None:
    """Though what it was stays in the configuration."""
    tree = site(lab_with, good(cards, mode="off"))
    assert certificate_login.AUTHORITIES not in portal.render(tree)
    assert portal.proxy_settings(tree).tls.client_authorities is None
    assert portal.settings(tree).certificate_login == "off"


@pytest.mark.parametrize(
    ("change", "path", "found"),
    [
        ({"authorities": None}, "portal.certificate_login.authorities", "nothing"),
        ({"authorities": ("Cards",)}, "portal.certificate_login.authorities", "CN=Cards without its issuer CN=Root"),
        ({"revocation": {}}, "portal.certificate_login.revocation.crls", "none of CN=Root; CN=Cards"),
        ({"revocation": ("Root",)}, "portal.certificate_login.revocation.crls", "none of CN=Cards"),
        ({"mode": "required", "mapping": ["upn"]}, "portal.certificate_login.mode", "required, and no administrator"),
    ],
)
def test_what_would_let_nobody_in_is_refused(
    lab_with: LabWith, cards: DevicePki, change: dict[str, Any], path: str, found: str
) -> None:
    held = {**good(cards), **change}
    if isinstance(held["authorities"], tuple):
        held["authorities"] = pem(cards, *held["authorities"])
    if isinstance(held["revocation"], tuple):
        held["revocation"] = {"crls": lists(cards, *held["revocation"])}
    if held["authorities"] is None:
        del held["authorities"]
    with pytest.raises(InvalidError) as refused:
        site(lab_with, held)
    (problem,) = refused.value.problems
    assert (problem.path, problem.found.startswith(found)) == (path, True), problem


def test_without_a_look_at_revocation_no_lists_are_asked_for(lab_with: LabWith, cards: DevicePki) -> None:
    tree = site(lab_with, good(cards, revocation={"check": "off"}))
    assert certificate_login.LISTS not in portal.render(tree)


def test_lists_elsewhere_and_a_responder_are_the_agents_to_ask(lab_with: LabWith, cards: DevicePki) -> None:
    """The agent alone gets a way there; lists of the configuration's own count beside those it fetches."""
    held = {
        "crl_urls": ["http://192.0.2.9/cards.crl"],
        "ocsp_url": "http://ocsp.example.com:8080/",
        "refresh_minutes": 5,
    }
    tree = site(lab_with, good(cards, revocation={**held, "crls": lists(cards, "Root")}))
    ways = [(flow.port, flow.peers, flow.user) for flow in portal.flows(tree) if flow.direction == "out"]
    assert ways == [(80, ("192.0.2.9",), "sentry-agent"), (8080, (), "sentry-agent")]
    asked = uem.agent(tree).administrators
    assert asked is not None
    assert asked.authorities == certificate_login.AUTHORITIES
    rules = asked.revocation
    assert (rules.crl_files, rules.crl_urls, rules.ocsp_url) == (
        (certificate_login.LISTS,),
        ("http://192.0.2.9/cards.crl",),
        "http://ocsp.example.com:8080/",
    )
    assert (rules.policy, rules.refresh_seconds) == ("strict", 300.0)
    for change in ({"mode": "off"}, {"revocation": {**held, "check": "off"}}):
        off = site(lab_with, {**good(cards, revocation=held), **change})
        assert uem.agent(off).administrators is None
        assert [flow for flow in portal.flows(off) if flow.direction == "out"] == []
    assert uem.agent(site(lab_with, good(cards))).administrators is None


@pytest.mark.parametrize(
    ("second", "paths"),
    [
        ({"edipi": "1111111111"}, ["users.accounts.admin.edipi", "users.accounts.second.edipi"]),
        ({"edipi": "2222222222"}, []),
        ({}, []),
    ],
)
def test_two_accounts_are_never_one_persons(lab_with: LabWith, second: dict[str, str], paths: list[str]) -> None:
    """V-250994: exactly one account; two without a number are two."""
    if not paths:
        assert len(site(lab_with, {"mode": "off"}, second)["users"]["accounts"]) == 2
        return
    with pytest.raises(InvalidError) as refused:
        site(lab_with, {"mode": "off"}, second)
    assert sorted(problem.path for problem in refused.value.problems) == paths
