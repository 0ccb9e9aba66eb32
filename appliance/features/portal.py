"""The portal on 8443: its settings file and the way to it from the management networks."""

import ipaddress
from collections.abc import Iterable, Mapping

import msgspec

from appliance.features import banner, hostname, interfaces, listeners, ssh, tls, uem, values
from appliance.features.base import Feature, File, Flow, Problem, Tree, Unit
from appliance.features.tls import certificate_path, key_path
from appliance.portal.settings import SETTINGS_PATH, Settings, Tls

FILE = str(SETTINGS_PATH)
GROUP = "sentry-portal"
IDLE_MINUTES = 15  # V-250984
NETWORKS = 64


def verify(tree: Tree) -> Iterable[Problem]:
    """One port for one service, and TLS versions in order."""
    portal = tree["portal"]
    gateway = dict.fromkeys(listeners.ports(tree), "the gateway")
    others = {ssh.PORT: "SSH", **gateway, uem.PORT: "the UEM", uem.PUSH_PORT: "the UEM's push"}
    if portal["port"] in others:
        yield Problem("portal.port", f"{portal['port']}, where {others[portal['port']]} listens", "a port of its own")
    yield from tls.verify("portal.tls", portal["tls"])
    yield from _verify_networks(tree)


def settings(tree: Tree) -> Settings:
    """The portal's settings; decoded from what will be written, so that a wrong value is seen here."""
    portal = tree["portal"]
    named = (tree["hostname"], hostname.short_name(tree))
    whole = Settings(
        addresses=interfaces.listen_addresses(tree, ("management",)),
        port=portal["port"],
        hosts=(*named, *interfaces.addresses(tree, ("management",))),
        tls=Tls(
            certificate=certificate_path("portal"),
            key=key_path("portal"),
            minimum=portal["tls"]["minimum"],
            maximum=portal["tls"]["maximum"],
        ),
        idle_minutes=portal["idle_minutes"],
        login_attempts_per_minute=portal["login_attempts_per_minute"],
        banner_path=banner.TEXT,
    )
    return msgspec.json.decode(msgspec.json.encode(whole), type=Settings)


def render(tree: Tree) -> Mapping[str, File]:
    """The settings file, indented for people, with a line end."""
    text = msgspec.json.format(msgspec.json.encode(settings(tree)), indent=2).decode()
    return {FILE: File(f"{text}\n", mode=0o640, group=GROUP)}


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The portal's port from the management networks, or from those of them that the portal's own list has."""
    networks = tuple(tree["portal"]["networks"] or tree["firewall"]["management_networks"])
    return (Flow("portal", "in", "tcp", tree["portal"]["port"], zone="management", peers=networks),)


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
        tls={**tls.VERSIONS, "default": {}},
    ),
    verify=verify,
    render=render,
    flows=flows,
    units=(Unit("sentry-portal.service", "restart", (FILE, banner.TEXT)),),
)
