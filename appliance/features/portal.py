"""The portal on 8443: its settings file, that of the TLS proxy before it, and the way to it from the management networks."""

import ipaddress
from collections.abc import Iterable, Mapping

import msgspec

from appliance.features import (
    banner,
    certificate_login,
    hostname,
    interfaces,
    listeners,
    service_file,
    ssh,
    tls,
    uem,
    values,
)
from appliance.features.base import Feature, File, Flow, Problem, Tree, Unit
from appliance.features.tls import certificate_path, key_path
from appliance.portal.settings import SETTINGS_PATH, Settings
from appliance.tls_proxy import settings as tls_proxy

FILE = str(SETTINGS_PATH)
GROUP = "sentry-portal"
PROXY_FILE = str(tls_proxy.SETTINGS_PATH)
PROXY_GROUP = "sentry-tls-proxy"
IDLE_MINUTES = 15  # V-250984
NETWORKS = 64


def verify(tree: Tree) -> Iterable[Problem]:
    """One port for one service."""
    portal = tree["portal"]
    gateway = dict.fromkeys(listeners.ports(tree), "the gateway")
    others = {ssh.PORT: "SSH", **gateway, uem.PORT: "the UEM", uem.PUSH_PORT: "the UEM's push"}
    if portal["port"] in others:
        yield Problem("portal.port", f"{portal['port']}, where {others[portal['port']]} listens", "a port of its own")
    yield from _verify_networks(tree)
    yield from certificate_login.verify(tree)


def settings(tree: Tree) -> Settings:
    """The portal's settings; decoded from what will be written, so that a wrong value is seen here."""
    portal = tree["portal"]
    named = (tree["hostname"], hostname.short_name(tree))
    whole = Settings(
        port=portal["port"],
        hosts=(*named, *interfaces.addresses(tree, ("management",))),
        idle_minutes=portal["idle_minutes"],
        login_attempts_per_minute=portal["login_attempts_per_minute"],
        banner_path=banner.TEXT,
        certificate_login=portal["certificate_login"]["mode"],
    )
    return msgspec.json.decode(msgspec.json.encode(whole), type=Settings)


def proxy_settings(tree: Tree) -> tls_proxy.Settings:
    """The TLS proxy's settings, decoded as those of the portal."""
    whole = tls_proxy.Settings(
        addresses=interfaces.listen_addresses(tree, ("management",)),
        port=tree["portal"]["port"],
        tls=tls_proxy.Tls(
            certificate=certificate_path("portal"),
            key=key_path("portal"),
            client_authorities=certificate_login.authorities_path(tree),
            **tls.profile(tree, "management")._asdict(),
        ),
    )
    return msgspec.json.decode(msgspec.json.encode(whole), type=tls_proxy.Settings)


def render(tree: Tree) -> Mapping[str, File]:
    """The settings files, and whose certificates administrators may show."""
    return {
        FILE: service_file.readable_by(GROUP, settings(tree)),
        PROXY_FILE: service_file.readable_by(PROXY_GROUP, proxy_settings(tree)),
        **certificate_login.files(tree),
    }


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The portal's port from the management networks, or from those of them that the portal's own list has."""
    networks = tuple(tree["portal"]["networks"] or tree["firewall"]["management_networks"])
    inward = Flow("portal", "in", "tcp", tree["portal"]["port"], zone="management", peers=networks)
    return (inward, *certificate_login.flows(tree))


def _verify_networks(tree: Tree) -> Iterable[Problem]:
    """The portal's list narrows the management networks, and never reaches beyond them (V-250983)."""
    management = [ipaddress.ip_network(one) for one in tree["firewall"]["management_networks"]]
    for place, text in enumerate(tree["portal"]["networks"]):
        network = ipaddress.ip_network(text)
        if not any(interfaces.within(network, whole) for whole in management):
            allowed = f"networks within firewall.management_networks: {', '.join(map(str, management))}"
            yield Problem(f"portal.networks.{place}", text, allowed)


FEATURE = Feature(
    name="portal",
    label="Portal",
    default={},
    schema=values.group(
        "Portal",
        "The administrators' web pages, in the management zone.",
        port=values.described(values.PORT_KIND, "Port", "Where it listens.", default=8_443),
        networks=values.several(
            values.NETWORK_KIND,
            "Networks",
            "From here alone the portal answers; each within firewall.management_networks. Empty: from all of those.",
            most=NETWORKS,
            default=[],
        ),
        idle_minutes=values.number(
            "Session timeout (minutes)",
            "An idle session must log in again (V-250984: 15).",
            low=1,
            high=60,
            default=IDLE_MINUTES,
        ),
        login_attempts_per_minute=values.number(
            "Log-in attempts per minute", "Of one source and of one account.", low=1, high=60, default=10
        ),
        certificate_login={**certificate_login.CERTIFICATE_LOGIN, "default": {}},
    ),
    verify=verify,
    render=render,
    flows=flows,
    units=(
        Unit("sentry-portal.service", "restart", (FILE, banner.TEXT)),
        Unit("sentry-tls-proxy.service", "restart", (PROXY_FILE,)),
        Unit("sentry-tls-proxy.service", "reload", (certificate_login.AUTHORITIES,)),
        Unit("sentry-agent.service", "restart", (certificate_login.AUTHORITIES, certificate_login.LISTS)),
    ),
)
