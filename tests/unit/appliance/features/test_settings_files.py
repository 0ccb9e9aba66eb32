"""The JSON files of our own daemons: read back by the very code that reads them on the appliance."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance import fleet_secret
from appliance.features import certificate_login, gateway, policy, portal, uem
from appliance.features.base import Tree
from appliance.pki import LEAVES
from appliance.portal import settings as portal_settings
from appliance.tls_proxy import settings as proxy_settings
from sentry_runtime import settings as runtime_settings
from sentry_runtime.eas.policy import Policy
from sentry_runtime.settings import ActiveHealth, PassiveHealth

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]


def runtime(tree: Tree, folder: Path) -> runtime_settings.Settings:
    """The data plane's settings as it reads them."""
    place = folder / "runtime.json"
    place.write_text(gateway.render(tree)[gateway.RUNTIME].text)
    return runtime_settings.load(place)


def test_the_data_plane_reads_what_is_rendered(trees: dict[str, Tree], tmp_path: Path) -> None:
    """Listeners on the zones' addresses, the backend by address with the name its certificate says."""
    found = runtime(trees["lab"], tmp_path)
    assert [(one.address, one.port) for one in found.gateway.listeners] == [("10.98.1.2", 443), ("10.98.2.2", 443)]
    (mail,) = found.gateway.backends
    assert (mail.host, mail.port, mail.server_name) == ("10.98.3.10", 443, "mail.lab.test")
    assert mail.tls is not None
    assert mail.tls.trust == "/var/lib/sentry/tls/trust/mail.pem"
    assert found.agent.fail_mode == "block"
    assert found.uem_server is not None
    assert found.uem_server.auto_block_unregistered


def test_autodiscover_sends_devices_to_the_appliances_own_name(trees: dict[str, Tree], tmp_path: Path) -> None:
    """With the port where it is not 443."""
    assert runtime(trees["lab"], tmp_path).gateway.external_host == "gateway.lab.test"
    assert runtime(trees["one_interface"], tmp_path).gateway.external_host == "edge.example.org:8444"


def test_how_devices_log_on_and_how_their_names_are_read(trees: dict[str, Tree], tmp_path: Path) -> None:
    """By Basic alone, every form of a name a user of its own and any number of devices, unless the site says otherwise."""
    lab, edge = (runtime(trees[name], tmp_path) for name in ("lab", "one_interface"))
    assert (lab.gateway.authentication, lab.gateway.newest_protocol) == (("basic",), "16.1")
    assert lab.principals == runtime_settings.Principals()
    assert edge.gateway.authentication == ("negotiate", "ntlm", "bearer", "basic")
    assert (lab.gateway.pooled_connections, edge.gateway.pooled_connections) == (False, True)
    assert edge.gateway.newest_protocol == "14.1"
    names = edge.principals.names()
    assert {names.canonical(name) for name in ("anna", "EXAMPLE\\Anna", "anna@example.org")} == {"anna@example.org"}
    assert names.canonical("LAB\\anna") == "anna@ad.lab.test"
    assert lab.uem_server is not None
    assert edge.uem_server is not None
    assert (lab.uem_server.devices_per_mailbox, edge.uem_server.devices_per_mailbox) == (0, 5)


def test_what_registered_devices_must_be_like_and_how_long_others_pass(trees: dict[str, Tree], tmp_path: Path) -> None:
    """Nothing and not at all, unless the site says otherwise."""
    lab, edge = (runtime(trees[name], tmp_path).uem_server for name in ("lab", "one_interface"))
    assert lab is not None
    assert edge is not None
    assert (lab.security_policies, lab.unregistered_grace_seconds, lab.licence) == ({}, 0, "platinum")
    assert (edge.default_security_policy, edge.unregistered_grace_seconds, edge.licence) == ("staff", 259_200, "gold")
    staff = edge.security_policies["staff"]
    assert {str(name): least for name, least in staff.minimum_os.items()} == {"ios": "17.4.1", "android": "13"}
    assert (staff.compromised, staff.require_encryption, staff.contact_days, staff.unknown) == (
        "pass",
        True,
        14,
        "pass",
    )
    assert edge.security_policies["nothing"].unknown == "block"


def test_both_ends_of_the_link_in_the_box_agree(trees: dict[str, Tree], tmp_path: Path) -> None:
    """The agent dials where the UEM listens and is pushed to where it listens, each with client certificates asked for."""
    for tree in trees.values():
        found = runtime(tree, tmp_path)
        link, server = found.agent.uem, found.uem_server
        assert server is not None
        assert link.url == f"https://{server.address}:{server.port}"
        (box,) = server.sentrys
        assert [box.push_url] == [f"https://{address}:{link.push_port}" for address in link.push_addresses]
        assert link.tls.certificate == "/var/lib/sentry/tls/agent/cert.pem"
        assert box.subject == "CN=agent,O=Sentry"
        assert server.administrators == ()
        assert link.push_tls is not None
        assert server.tls.client_ca == link.push_tls.client_ca == link.tls.trust == server.push_tls.trust


def test_every_certificate_that_is_named_is_one_that_is_made(trees: dict[str, Tree]) -> None:
    """A service that names a certificate nobody makes would not start."""
    made = {f"/var/lib/sentry/tls/{leaf.name}/cert.pem" for leaf in LEAVES}
    for tree in trees.values():
        text = gateway.render(tree)[gateway.RUNTIME].text + portal.render(tree)[portal.PROXY_FILE].text
        named = {word for word in text.split('"') if word.endswith("/cert.pem")}
        assert named == made


def test_each_port_has_a_certificate_and_a_key_of_its_own(trees: dict[str, Tree], tmp_path: Path) -> None:
    """Row 136: the devices' port, the portal's, the UEM's, and the one that the UEM pushes to."""
    for tree in trees.values():
        found = runtime(tree, tmp_path)
        assert found.uem_server is not None
        assert found.agent.uem.push_tls is not None
        shown = json.loads(portal.render(tree)[portal.PROXY_FILE].text)["tls"]
        pairs = [
            (one.certificate, one.key) for one in (found.gateway.tls, found.uem_server.tls, found.agent.uem.push_tls)
        ]
        files = [file for pair in (*pairs, (shown["certificate"], shown["key"])) for file in pair]
        assert len(set(files)) == len(files) == 8


def test_settings_that_are_not_said_are_the_data_planes_own_defaults(trees: dict[str, Tree], tmp_path: Path) -> None:
    """Each default is stated once, in `sentry_runtime.settings`."""
    gateway_settings = runtime(trees["lab"], tmp_path).gateway
    assert gateway_settings.limits == runtime_settings.Limits()
    assert gateway_settings.routing == runtime_settings.Routing()


def test_every_optional_setting_reaches_the_data_plane(trees: dict[str, Tree], tmp_path: Path) -> None:
    """The second site sets each to something else than its default."""
    found = runtime(trees["one_interface"], tmp_path)
    assert (found.gateway.workers, found.gateway.tls.minimum, found.gateway.tls.maximum) == (4, "1.3", "1.3")
    assert (found.gateway.limits.head_bytes, found.gateway.limits.connections_per_worker) == (8_192, 500)
    assert [(rule.name, rule.expires) for rule in found.gateway.rules] == [
        ("pilot", "2026-03-31T18:00Z"),
        ("lost-phone", ""),
    ]
    assert found.gateway.observe == runtime_settings.Observe(until="2026-01-31T18:00Z")
    assert found.gateway.throttle == runtime_settings.Throttle(
        requests_per_second=2.0, burst=100, repeats=30, pause_seconds=120.0
    )
    assert found.gateway.block_notice.startswith("This device")
    assert (found.agent.fail_mode, found.agent.uem.timeout_seconds, found.agent.uem.resync_seconds) == ("allow", 3, 30)
    assert (found.gateway.non_provisionable, found.gateway.fleet_secret) == ("allow", fleet_secret.SITES)
    exchange, plain, private = found.gateway.backends
    assert exchange.tls is not None
    assert (exchange.tls.trust, exchange.tls.maximum) == ("/etc/ssl/certs/ca-certificates.crt", "1.3")
    assert (plain.tls, plain.server_name, plain.port) == (None, None, 80)
    assert private.server_name == "mail.internal"
    assert [(one.verify, one.priority) for one in found.gateway.backends] == [
        ("log", 1),
        ("strict", 10),
        ("strict", 10),
    ]
    routing = found.gateway.routing
    assert (routing.scheduling, routing.default) == ("priority", ("exchange", "plain"))
    assert routing.domains == {"example.org": ("exchange",), "example.net": ("private", "plain")}
    assert routing.passive == PassiveHealth(failures=5, window_seconds=60.0, dead_seconds=120.0)
    assert routing.active == ActiveHealth(interval_seconds=30.0, timeout_seconds=2.0, rise=1, fall=2)
    assert routing.redirects.hosts == ("mail2.example.org", ".outlook.example")
    assert routing.redirects.networks == ("198.51.100.0/24", "2001:db8:7::/48")


def test_checks_can_be_turned_off(lab_with: LabWith, tmp_path: Path) -> None:
    """Then there are none, whatever their other settings say."""
    tree = lab_with(lambda held: held["backends"].update(active_health={"enabled": False, "rise": 5}))
    assert runtime(tree, tmp_path).gateway.routing.active is None


def test_a_policy_is_set_by_the_data_planes_own_fields(trees: dict[str, Tree], tmp_path: Path) -> None:
    """One of the second site's sets every field there is; each has words for people, and the lab's is a small one."""
    found = runtime(trees["one_interface"], tmp_path)
    assert found.uem_server is not None
    everything = found.uem_server.policies["all"]
    unset = [name for name in Policy.__struct_fields__ if getattr(everything, name) in (None, ())]
    assert (unset, set(policy.TEXTS)) == ([], set(Policy.__struct_fields__))
    assert (found.uem_server.policies["none"], found.uem_server.default_policy) == (Policy(), "all")
    labs = runtime(trees["lab"], tmp_path)
    assert labs.gateway.policy == Policy(
        device_password_enabled=True,
        allow_simple_device_password=True,
        min_device_password_length=4,
        max_inactivity_time_device_lock=900,
    )
    assert labs.gateway.fleet_secret == fleet_secret.OWN


def test_a_policy_whose_settings_were_all_taken_out_is_none(lab_with: LabWith, tmp_path: Path) -> None:
    """And one that restricts nothing says so."""
    emptied = lab_with(lambda tree: tree["gateway"].update(policy={}))
    assert runtime(emptied, tmp_path).gateway.policy is None
    lax = lab_with(lambda tree: tree["gateway"].update(policy={"device_password_enabled": False}))
    assert runtime(lax, tmp_path).gateway.policy == Policy()


def test_a_service_listens_on_its_zones_addresses_unless_dhcp_hides_them(
    trees: dict[str, Tree], lab_with: LabWith
) -> None:
    """With DHCP in the zone it listens everywhere, and the firewall alone keeps the zones apart."""
    assert portal.proxy_settings(trees["lab"]).addresses == ("10.98.2.2",)
    assert portal.proxy_settings(trees["one_interface"]).addresses == ("0.0.0.0", "::")  # noqa: S104 - what is rendered
    device_dhcp = lab_with(lambda tree: tree["interfaces"]["device0"].update(dhcp="ipv4"))
    assert portal.proxy_settings(device_dhcp).addresses == ("10.98.2.2",)


def test_the_portal_reads_what_is_rendered(trees: dict[str, Tree], tmp_path: Path) -> None:
    """The names people may type; and the proxy before it, where it listens and with what."""
    place = tmp_path / "portal.json"
    place.write_text(portal.render(trees["lab"])[portal.FILE].text)
    found = portal_settings.load(place)
    assert found.hosts == ("gateway.lab.test", "gateway", "10.98.2.2")
    assert (found.port, found.idle_minutes, found.certificate_login) == (8443, 15, "optional")
    place.write_text(portal.render(trees["lab"])[portal.PROXY_FILE].text)
    proxy = proxy_settings.load(place)
    assert (proxy.addresses, proxy.port, proxy.tls.minimum, proxy.tls.maximum) == (("10.98.2.2",), 8443, "1.2", "1.2")
    assert (proxy.portal_socket, proxy.tls.client_authorities) == (found.socket_path, certificate_login.AUTHORITIES)


@pytest.mark.parametrize("name", ["lab", "one_interface"])
def test_files_with_paths_of_keys_are_for_the_services_groups_only(name: str, trees: dict[str, Tree]) -> None:
    """Root writes, the group reads, nobody else."""
    data_plane = gateway.render(trees[name])[gateway.RUNTIME]
    web = portal.render(trees[name])[portal.FILE]
    assert (data_plane.owner, data_plane.group, data_plane.mode) == ("root", "sentry-runtime", 0o640)
    assert (web.owner, web.group, web.mode) == ("root", "sentry-portal", 0o640)
    proxy = portal.render(trees[name])[portal.PROXY_FILE]
    assert (proxy.owner, proxy.group, proxy.mode) == ("root", "sentry-tls-proxy", 0o640)


def test_the_uem_gives_up_before_the_device_does(lab_with: LabWith) -> None:
    """The longest time-out that can be set is shorter than what a device waits for a decision."""
    tree = lab_with(lambda held: held["uem"].update(timeout_seconds=7))
    assert uem.agent(tree).uem.timeout_seconds < runtime_settings.Limits().decision_seconds
