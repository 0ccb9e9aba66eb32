"""A UEM on another machine: port 9090 is open to its addresses in its zone, and in the other modes to nobody."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.features import FEATURES, flows, uem
from appliance.features.base import Flow, Tree
from appliance.features.firewall import ruleset
from appliance.features.gateway import settings
from appliance.plan import InvalidError
from appliance.render import render_all
from sentry_runtime.settings import EnrolmentLink

from .conftest import MATERIAL, SITES

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]
AUTHORITY = (MATERIAL / "authority.pem").read_text()
CORE: dict[str, Any] = {
    "mode": "core",
    "url": "https://uem.lab.test:9443",
    "addresses": ["10.98.2.40/32", "10.98.2.48/28"],
    "authorities": AUTHORITY,
    "push_subject": "CN=uem,O=Example",
}


def core(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """The lab with such a UEM; None takes a setting out."""

    def change(tree: dict[str, Any]) -> None:
        tree["uem"] = {name: value for name, value in {**CORE, **changes}.items() if value is not None}

    return change


def rules_on(port: int, text: str) -> list[str]:
    """The ruleset's lines about this port as a destination, but for those that keep local accounts from it."""
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if f"dport {port}" in line and "accept" in line]


def test_in_core_mode_only_the_uem_reaches_9090_and_only_in_its_zone(lab_with: LabWith) -> None:
    """And the agent alone dials it."""
    tree = lab_with(core())
    assert uem.flows(tree) == (
        Flow("uem", "in", "tcp", 9090, "management", ("10.98.2.40/32", "10.98.2.48/28")),
        Flow("uem", "out", "tcp", 9443, "management", (), "sentry-agent"),
    )
    (rule,) = rules_on(9090, ruleset(tree, flows(tree)))
    assert rule.startswith(
        "iifname @zone_management ip saddr { 10.98.2.40, 10.98.2.48/28 } tcp dport 9090 counter accept"
    )


@pytest.mark.parametrize("site", SITES)
def test_in_embedded_mode_9090_is_closed(trees: dict[str, Tree], site: str) -> None:
    """No rule lets anybody in there; loopback is where the UEM in the box pushes."""
    text = ruleset(trees[site], flows(trees[site]))
    assert rules_on(443, text)
    assert rules_on(9090, text) == []
    link = settings(trees[site]).agent.uem
    assert (link.push_addresses, link.push_networks) == (("127.0.0.1",), ("127.0.0.1/32",))
    assert link.push_subject == "CN=uem-client,O=Sentry"


def test_nft_takes_the_ruleset(lab_with: LabWith, tmp_path: Path) -> None:
    """By its own checker."""
    tree = lab_with(core(addresses=["10.98.2.40/32", "2001:db8::40/128"]))
    path = tmp_path / "rules"
    services = {"gateway", "agent", "uem", "portal", "log", "alerts", "acme", "offsite", "directory", "tls-proxy"}
    accounts = {f"sentry-{name}" for name in services} | {"Debian-snmp", "_chrony"}
    text = ruleset(tree, flows(tree))
    for number, account in enumerate(sorted(accounts), 990):
        text = text.replace(f'"{account}"', str(number))
    path.write_text(text)
    argv = ["unshare", "--map-root-user", "--net", "nft", "-c", "-f", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_agents_settings_name_the_uem_and_who_may_push(lab_with: LabWith) -> None:
    """The UEM's authorities alone are trusted; the UEM in the box is not started."""
    tree = lab_with(core())
    made = settings(tree)
    link = made.agent.uem
    assert made.uem_server is None
    assert (link.mode, link.url) == ("core", "https://uem.lab.test:9443")
    assert link.push_addresses == ("10.98.2.2",)
    assert link.push_networks == ("10.98.2.40/32", "10.98.2.48/28")
    assert link.push_subject == "CN=uem,O=Example"
    assert link.push_tls is not None
    assert link.tls.trust == link.push_tls.client_ca == uem.AUTHORITIES
    files = render_all(tree, FEATURES)
    assert files[uem.AUTHORITIES].text.strip() == AUTHORITY.strip()
    assert uem.EMBEDDED not in files


@pytest.mark.parametrize(
    ("changes", "path", "found"),
    [
        ({"url": None}, "uem.url", "nothing"),
        ({"addresses": None}, "uem.addresses", "nothing"),
        ({"authorities": None}, "uem.authorities", "nothing"),
        ({"push_subject": None}, "uem.push_subject", "nothing"),
        ({"push_subject": ""}, "uem.push_subject", "''"),
        ({"push_subject": "uem"}, "uem.push_subject", "'uem'"),
        ({"push_subject": "/O=Example/CN=uem"}, "uem.push_subject", "'/O=Example/CN=uem'"),
        ({"push_subject": "cn=uem, o=Example"}, "uem.push_subject", "'cn=uem, o=Example'"),
        ({"mode": "embedded"}, "uem.url", "something"),
        ({"url": "http://uem.lab.test"}, "uem.url", "'http://uem.lab.test'"),
        ({"url": "https://uem.lab.test/path"}, "uem.url", "'https://uem.lab.test/path'"),
        ({"url": "https://a@uem.lab.test"}, "uem.url", "'https://a@uem.lab.test'"),
        ({"url": "https://:word@uem.lab.test"}, "uem.url", "'https://:word@uem.lab.test'"),
        ({"addresses": ["10.0.0.0/8"]}, "uem.addresses.0", "10.0.0.0/8"),
        ({"addresses": ["2001:db8::/48"]}, "uem.addresses.0", "2001:db8::/48"),
        ({"policies": {"strict": {"device_password_enabled": True}}}, "uem.policies", "some"),
        ({"enrolment_url": "https://uem.lab.test:9444"}, "uem.sentry_name", "nothing"),
        ({"sentry_name": "edge"}, "uem.sentry_name", "something"),
        ({"enrolment_url": "https://uem.lab.test:9444", "sentry_name": "-edge"}, "uem.sentry_name", "'-edge'"),
        (
            {"enrolment_url": "http://uem.lab.test:9444", "sentry_name": "edge"},
            "uem.enrolment_url",
            "'http://uem.lab.test:9444'",
        ),
        ({"mode": "cloudy"}, "uem.mode", "'cloudy'"),
    ],
)
def test_what_does_not_fit_the_mode_is_refused(
    lab_with: LabWith, changes: dict[str, Any], path: str, found: str
) -> None:
    """Nothing is silently without effect, and nothing opens the port to nearly everybody."""
    with pytest.raises(InvalidError) as caught:
        lab_with(core(**changes))
    assert (path, found) in [(problem.path, problem.found) for problem in caught.value.problems]


def test_a_gateway_that_enrols_has_no_other_certificate_and_a_way_to_the_port_of_enrolment(lab_with: LabWith) -> None:
    """The UEM's authorities are those by which its server is known there, too."""
    tree = lab_with(core(enrolment_url="https://uem.lab.test:9444", sentry_name="edge"))
    link = settings(tree).agent.uem
    assert link.enrolment == EnrolmentLink(url="https://uem.lab.test:9444", sentry="edge")
    assert (link.tls.trust, link.tls.certificate, link.tls.key) == (uem.AUTHORITIES, None, None)
    assert [flow.port for flow in uem.flows(tree) if flow.direction == "out"] == [9443, 9444]


def test_enrolment_with_the_uem_in_the_box_is_refused(lab_with: LabWith) -> None:
    """The UEM in the box knows the appliance by its own certificate."""

    def change(tree: dict[str, Any]) -> None:
        tree["uem"] = {"enrolment_url": "https://uem.lab.test:9444", "sentry_name": "edge"}

    with pytest.raises(InvalidError) as caught:
        lab_with(change)
    assert [problem.path for problem in caught.value.problems] == ["uem.enrolment_url"]


def test_every_folder_of_our_own_that_is_rendered_into_is_made_with_the_system(lab_with: LabWith) -> None:
    """configd makes a folder that is missing for itself alone: the agent could not read whom it is to believe."""
    lines = (Path(__file__).parents[4] / "roles/base/files/tmpfiles.conf").read_text().splitlines()
    made = {fields[1] for fields in map(str.split, lines) if fields and fields[0] == "d"}
    rendered = {str(Path(path).parent) for path in render_all(lab_with(core()), FEATURES)}
    assert str(Path(uem.AUTHORITIES).parent) in rendered
    assert {folder for folder in rendered if "sentry" in folder} <= made
