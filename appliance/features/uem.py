"""The UEM: where device registrations and decisions come from: the one in the box (`embedded`), one on another machine that
speaks the same protocol both ways (`core`), or one of another vendor that is asked by its own API (`vendors` has these).

`gateway` renders what is set here into the data plane's one settings file.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from appliance import uem_secret
from appliance.features import dns, interfaces, policy, security, values, vendors
from appliance.features.base import Feature, File, Flow, Problem, System, Tree, Unit
from appliance.features.tls import AUTHORITY, certificate_path, key_path, subject
from sentry_runtime.settings import Agent, ClientTls, EnrolmentLink, SentryPeer, ServerTls, UemLink, UemServer

ADDRESS = "127.0.0.1"
PORT = 9_443
PUSH_PORT = 9_090
MAILBOX_DEVICES = 1_000  # more is a mailbox that many people share; then there is nothing to limit
POLICIES = 64
GRACE_DAYS = 30  # after that the UEM forgets a device that nobody decided about
DAY_SECONDS = 86_400
ADDRESSES = 16  # a UEM's nodes; more is a network
SHORTEST_PREFIX = 24  # a UEM is a machine or a few: a larger network is no answer to the question which
AUTHORITIES = "/var/lib/sentry/tls/trust-uem/authorities.pem"
EMBEDDED = "/etc/sentry/embedded-uem"
URL = "https:// with a host and, where it is not 443, a port, such as https://uem.example.com:9443"
AGENT = "sentry-agent"
SENTRY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME = "1 to 64 letters, digits, dots, hyphens and underscores; first a letter or a digit"


def verify(tree: Tree) -> Iterable[Problem]:
    """A policy says something, and the default one is one of them; no setting is without effect in its mode."""
    yield from _verify_mode(tree)
    policies = tree["uem"]["policies"]
    for name, held in sorted(policies.items()):
        if not held:
            allowed = "at least one setting; device_password_enabled: false restricts nothing"
            yield Problem(f"uem.policies.{name}", "no setting", allowed)
        yield from policy.verify(f"uem.policies.{name}", held)
    asked = tree["uem"]["security_policies"]
    for name, held in sorted(asked.items()):
        yield from security.verify(f"uem.security_policies.{name}", held)
    for setting, there in (("default_policy", policies), ("default_security_policy", asked)):
        default = tree["uem"].get(setting)
        if default is not None and default not in there:
            group = "policies" if there is policies else "security_policies"
            yield Problem(f"uem.{setting}", repr(default), ", ".join(sorted(there)) or f"a name of uem.{group}")
    yield from vendors.verify(tree)


def _verify_mode(tree: Tree) -> Iterator[Problem]:
    uem, core = tree["uem"], is_core(tree)
    given = {"url": "url" in uem, "authorities": "authorities" in uem, "addresses": bool(uem["addresses"])}
    for name, said in given.items():
        if said != core:
            found, allowed = (
                ("something", "nothing, since the UEM is in the box") if said else ("nothing", "mode core needs it")
            )
            yield Problem(f"uem.{name}", found, allowed)
    yield from _verify_enrolment(uem, core=core)
    if core and uem["policies"]:
        yield Problem("uem.policies", "some", "none in mode core: there the UEM has its own")
    if core and not interfaces.in_zone(tree, uem["zone"]):
        yield Problem("uem.zone", f"{uem['zone']}, which no interface carries", "a zone of the interfaces")
    for place, network in enumerate(uem["addresses"]):
        if "/" in network and int(network.partition("/")[2]) < SHORTEST_PREFIX:
            yield Problem(f"uem.addresses.{place}", network, f"addresses, or networks of at least /{SHORTEST_PREFIX}")


def _verify_enrolment(uem: Any, *, core: bool) -> Iterator[Problem]:
    said = "enrolment_url" in uem
    if said and not core:
        yield Problem("uem.enrolment_url", "something", "nothing, except in mode core")
    if said != ("sentry_name" in uem):
        yield Problem("uem.sentry_name", "nothing" if said else "something", "just where there is enrolment_url")


def is_core(tree: Tree) -> bool:
    """Whether the UEM is on another machine and pushes to us."""
    return bool(tree["uem"]["mode"] == "core")


def agent(tree: Tree) -> Agent:
    """The agent's part of the settings: the link to the UEM by mutual TLS, on loopback like anywhere else, or to the vendor's."""
    uem, core = tree["uem"], is_core(tree)
    size, persist = uem["device_cache_size"], uem["persist_seconds"]
    if uem["mode"] in vendors.MODES:
        vendor = vendors.link(tree)
        return Agent(uem=vendor, fail_mode=uem["fail_mode"], device_cache_size=size, persist_seconds=persist)
    trust = AUTHORITIES if core else AUTHORITY
    enrolled = core and "enrolment_url" in uem
    link = UemLink(
        mode=uem["mode"],
        url=uem["url"] if core else f"https://{ADDRESS}:{PORT}",
        tls=ClientTls(trust=trust)
        if enrolled
        else ClientTls(trust=trust, certificate=certificate_path("agent"), key=key_path("agent")),
        enrolment=EnrolmentLink(url=uem["enrolment_url"], sentry=uem["sentry_name"]) if enrolled else None,
        push_addresses=interfaces.listen_addresses(tree, [uem["zone"]]) if core else (ADDRESS,),
        push_port=PUSH_PORT,
        push_tls=ServerTls(certificate=certificate_path("uem-push"), key=key_path("uem-push"), client_ca=trust),
        push_networks=tuple(uem["addresses"]) if core else (f"{ADDRESS}/32",),
        timeout_seconds=uem["timeout_seconds"],
        resync_seconds=uem["resync_seconds"],
    )
    return Agent(uem=link, fail_mode=uem["fail_mode"], device_cache_size=size, persist_seconds=persist)


def render(tree: Tree) -> Mapping[str, File]:
    """Whose certificates a UEM on another machine has; or that the one in the box is wanted, without which it does not start."""
    if tree["uem"]["mode"] in vendors.MODES:
        return vendors.render(tree)
    if is_core(tree):
        return {AUTHORITIES: File(tree["uem"]["authorities"])}
    return {EMBEDDED: File("The UEM in the box runs while this file is here.\n")}


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The agent's way to the UEM and the UEM's to the agent, where it is on another machine; else the port stays closed."""
    if tree["uem"]["mode"] in vendors.MODES:
        return vendors.flows(tree)
    if not is_core(tree):
        return ()
    uem = tree["uem"]
    places = dict.fromkeys(_place_of(uem[name]) for name in ("url", "enrolment_url") if name in uem)
    return (
        Flow("uem", "in", "tcp", PUSH_PORT, uem["zone"], tuple(uem["addresses"])),
        *(Flow("uem", "out", "tcp", port, uem["zone"], dns.addresses_of(tree, host), AGENT) for host, port in places),
    )


def _place_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 443


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = all("!" <= one <= "~" and one not in "\"'<>\\^`{|}" for one in text)
    alone = not (parts.username or parts.query or parts.fragment or parts.path.strip("/")) and (
        port is None or port > 0
    )
    return plain and alone and text.startswith("https://") and values.is_host(parts.hostname or "")


def server(tree: Tree) -> UemServer | None:
    """The embedded UEM's part of the settings, where there is one."""
    if tree["uem"]["mode"] != "embedded":
        return None
    return UemServer(
        address=ADDRESS,
        port=PORT,
        tls=ServerTls(certificate=certificate_path("uem"), key=key_path("uem"), client_ca=AUTHORITY),
        auto_block_unregistered=tree["uem"]["auto_block_unregistered"],
        devices_per_mailbox=tree["uem"]["devices_per_mailbox"],
        policies={name: policy.made(held) for name, held in sorted(tree["uem"]["policies"].items())},
        default_policy=tree["uem"].get("default_policy"),
        security_policies={
            name: security.made(held) for name, held in sorted(tree["uem"]["security_policies"].items())
        },
        default_security_policy=tree["uem"].get("default_security_policy"),
        unregistered_grace_seconds=tree["uem"]["unregistered_grace_days"] * DAY_SECONDS,
        licence=tree["uem"]["licence"],
        sentrys=(SentryPeer(name="box", subject=subject("agent"), push_url=f"https://{ADDRESS}:{PUSH_PORT}"),),
        push_tls=ClientTls(trust=AUTHORITY, certificate=certificate_path("uem-client"), key=key_path("uem-client")),
    )


def reconcile(tree: Tree, system: System) -> bool:
    """The secret of the vendor's account is there before the agent looks for it."""
    return uem_secret.ensure(tree, system)


FEATURE = Feature(
    name="uem",
    label="UEM",
    default={},
    verify=verify,
    reconcile=reconcile,
    schema=values.group(
        "UEM",
        "Who knows the devices and decides on them.",
        mode=values.described(
            {
                "type": "string",
                "allowed": ["embedded", "core", *vendors.MODES],
            },
            "Mode",
            "embedded: the UEM in the box, on loopback; administrators reach it through the command line. core: one on another "
            "machine, which this gateway asks and which pushes its changes to port 9090. epmm, intune: one of another vendor,"
            " see docs/uem-adapters.md.",
            default="embedded",
        ),
        url=values.described(
            {
                "type": "string",
                "coerce": values.stripped,
                "check_with": values.check(_is_url, URL),
                "meta": {"allowed": URL},
            },
            "UEM at",
            "Where the UEM answers, in mode core.",
        ),
        enrolment_url=values.described(
            {
                "type": "string",
                "coerce": values.stripped,
                "check_with": values.check(_is_url, URL),
                "meta": {"allowed": URL},
            },
            "UEM enrols at",
            "Where the UEM gives this gateway its certificate, in mode core: https:// with host and port. `uem enrol` asks for"
            " the token. Without it the gateway has a certificate of its own authority.",
        ),
        sentry_name=values.described(
            {
                "type": "string",
                "check_with": values.check(SENTRY_NAME.fullmatch, NAME),
                "meta": {"allowed": NAME},
            },
            "Name at the UEM",
            "Under which name this gateway enrols.",
        ),
        authorities=values.described(
            values.PEM_KIND,
            "UEM's authorities",
            "PEM of those that issue the UEM's certificates, both as a server and for its pushes, in mode core.",
        ),
        addresses=values.several(
            values.NETWORK_KIND,
            "UEM's addresses",
            "From where the UEM pushes, in mode core; port 9090 is closed to everybody else (V-250985).",
            most=ADDRESSES,
            default=[],
        ),
        zone=values.described(
            {"type": "string", "allowed": list(interfaces.ZONES)},
            "UEM's zone",
            "In which zone a UEM on another machine is reached and pushes.",
            default="management",
        ),
        fail_mode=values.described(
            {"type": "string", "allowed": ["allow", "block"]},
            "Fail mode",
            "What a new device gets while the UEM cannot be reached. Known devices go on.",
            default="block",
        ),
        auto_block_unregistered=values.switch(
            "Auto block unregistered devices",
            "Whether a device the UEM does not know is blocked (V-251008).",
            default=True,
        ),
        unregistered_grace_days=values.number(
            "Grace of unregistered devices (days)",
            "How long a device that nobody registered passes from its first contact on, where such devices are blocked. "
            "V-251008 wants 0.",
            low=0,
            high=GRACE_DAYS,
            default=0,
        ),
        devices_per_mailbox=values.number(
            "Devices per mailbox",
            "How many devices of one mailbox may pass; 0: any number. What an administrator allows by hand comes on top.",
            low=0,
            high=MAILBOX_DEVICES,
            default=0,
        ),
        policies=values.named(
            policy.NAME_KIND,
            policy.group("Policy", "What a device must apply."),
            "Policies",
            "ActiveSync policies, by a name of your own, to be assigned to devices.",
            most=POLICIES,
            default={},
        ),
        default_policy=values.described(
            policy.NAME_KIND,
            "Default policy",
            "The policy of every device that none is assigned to. Without it they have the gateway's own, `gateway.policy`.",
        ),
        security_policies=values.named(
            policy.NAME_KIND,
            security.group("Security policy", "What a registered device must be like."),
            "Security policies",
            "What registered devices must be like, by a name of your own, for labels to name.",
            most=POLICIES,
            default={},
        ),
        default_security_policy=values.described(
            policy.NAME_KIND,
            "Default security policy",
            "The one of registered devices whose labels name none. Without it nothing is asked of them.",
        ),
        licence=values.described(
            {"type": "string", "allowed": ["gold", "platinum"]},
            "Licence",
            "The licence level of the UEM in the box.",
            default="platinum",
        ),
        timeout_seconds=values.number(
            "Time-out (seconds)", "How long the UEM may take to answer.", low=1, high=7, default=5
        ),
        resync_seconds=values.number(
            "Resync (seconds)", "How often what is known is held against the UEM.", low=10, high=3_600, default=60
        ),
        **vendors.GROUPS,
        device_cache_size=values.number(
            "Device cache size",
            "Up to so many devices unknown ones are taken into the list, and app tunnels are kept. What the UEM says of further"
            " ones is kept all the same, without their tunnels.",
            low=1_000,
            high=300_000,
            default=300_000,
        ),
        persist_seconds=values.number(
            "Persist (seconds)",
            "How often the disk has to confirm the device list. Each change is on it before it counts; this finds a disk that"
            " fails.",
            low=10,
            high=86_400,
            default=300,
        ),
    ),
    render=render,
    flows=flows,
    units=(
        Unit("sentry-uem.service", "restart", (EMBEDDED,)),
        Unit("sentry-agent.service", "restart", (AUTHORITIES, vendors.TRUST)),
    ),
)
