"""The UEM: where device registrations and decisions come from: the one in the box (`embedded`), one on another machine that
speaks the same protocol both ways (`core`) or is only called (`cloud`), or one of another vendor that is asked by its own API
(`vendors` has these).

`gateway` renders what is set here into the data plane's one settings file.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from appliance import uem_secret
from appliance.features import certificate_login, dns, interfaces, policy, security, tls, values, vendors
from appliance.features.base import Feature, File, Flow, Problem, System, Tree, Unit
from appliance.features.tls import AUTHORITY, certificate_path, key_path, subject
from sentry_runtime.certificates.names import SUBJECT_CHARS, written
from sentry_runtime.settings import (
    Agent,
    CheckIns,
    ClientTls,
    EnrolmentLink,
    SentryPeer,
    ServerTls,
    UemLink,
    UemServer,
)

ADDRESS = "127.0.0.1"
PORT = 9_443
PUSH_PORT = 9_090
MAILBOX_DEVICES = 1_000  # more is a mailbox that many people share; then there is nothing to limit
POLICIES = 64
GRACE_DAYS = 30  # after that the UEM forgets a device that nobody decided about
DAY_SECONDS = 86_400
ADDRESSES = 16  # a UEM's nodes; more is a network
# A UEM is a machine or a few: a larger network is no answer to the question which. IPv6 has no smaller ones than a link.
SHORTEST_PREFIX, SHORTEST_PREFIX_6 = 24, 64
AUTHORITIES = "/var/lib/sentry/tls/trust-uem/authorities.pem"
EMBEDDED = "/etc/sentry/embedded-uem"
URL = "https:// with a host and, where it is not 443, a port, such as https://uem.example.com:9443"
AGENT = "sentry-agent"
SUBJECT = (
    "a certificate's subject (RFC 4514) such as CN=uem,O=Example; "
    "`openssl x509 -noout -subject -nameopt RFC2253 -in FILE` prints a certificate's"
)
SENTRY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME = "1 to 64 letters, digits, dots, hyphens and underscores; first a letter or a digit"


def verify(tree: Tree) -> Iterable[Problem]:
    """A policy says something, and the default one is one of them; no setting is without effect in its mode."""
    yield from _verify_mode(tree)
    for name, held in sorted(tree["uem"]["policies"].items()):
        if not held:
            allowed = "at least one setting; device_password_enabled: false restricts nothing"
            yield Problem(f"uem.policies.{name}", "no setting", allowed)
        yield from policy.verify(f"uem.policies.{name}", held)
    for name, held in sorted(tree["uem"]["security_policies"].items()):
        yield from security.verify(f"uem.security_policies.{name}", held)
    for setting, group in (("default_policy", "policies"), ("default_security_policy", "security_policies")):
        default, there = tree["uem"].get(setting), tree["uem"][group]
        if default is not None and default not in there:
            yield Problem(f"uem.{setting}", repr(default), ", ".join(sorted(there)) or f"a name of uem.{group}")
    yield from vendors.verify(tree)


def _verify_mode(tree: Tree) -> Iterator[Problem]:
    uem, mode, elsewhere = tree["uem"], tree["uem"]["mode"], is_elsewhere(tree)
    core = is_core(tree)
    wanted = {"url": elsewhere, "authorities": elsewhere, "addresses": core, "push_subject": core}
    for name, needed in wanted.items():
        if bool(uem.get(name)) != needed:
            why = "the UEM does not call us" if mode == "cloud" else "the UEM is in the box"
            what = f": {SUBJECT}" if name == "push_subject" else ""
            needs = f"mode {mode} needs it{what}"
            found, allowed = ("nothing", needs) if needed else ("something", f"nothing, since {why}")
            yield Problem(f"uem.{name}", found, allowed)
    yield from _verify_enrolment(uem, elsewhere=elsewhere)
    if elsewhere and uem["policies"]:
        yield Problem("uem.policies", "some", f"none in mode {mode}: there the UEM has its own")
    if mode == "cloud" and uem["fail_mode"] != "block":
        yield Problem("uem.fail_mode", uem["fail_mode"], "block in mode cloud: what holds is set there")
    if elsewhere and not interfaces.in_zone(tree, uem["zone"]):
        yield Problem("uem.zone", f"{uem['zone']}, which no interface carries", "a zone of the interfaces")
    for place, network in enumerate(uem["addresses"]):
        shortest = SHORTEST_PREFIX_6 if ":" in network else SHORTEST_PREFIX
        if "/" in network and int(network.partition("/")[2]) < shortest:
            yield Problem(f"uem.addresses.{place}", network, f"addresses, or networks of at least /{shortest}")


def _verify_enrolment(uem: Any, *, elsewhere: bool) -> Iterator[Problem]:
    said = "enrolment_url" in uem
    if said and not elsewhere:
        yield Problem("uem.enrolment_url", "something", "nothing, except in the modes core and cloud")
    if said != ("sentry_name" in uem):
        yield Problem("uem.sentry_name", "nothing" if said else "something", "just where there is enrolment_url")


def is_core(tree: Tree) -> bool:
    """Whether the UEM is on another machine and pushes to us."""
    return bool(tree["uem"]["mode"] == "core")


def is_elsewhere(tree: Tree) -> bool:
    """Whether the UEM is on another machine and speaks our protocol, in either manner."""
    return tree["uem"]["mode"] in ("core", "cloud")


def agent(tree: Tree) -> Agent:
    """The agent's part of the settings: the link to the UEM by mutual TLS, on loopback like anywhere else, or to the vendor's."""
    uem = tree["uem"]
    return Agent(
        uem=vendors.link(tree) if uem["mode"] in vendors.MODES else _link(tree),
        fail_mode=uem["fail_mode"],
        device_cache_size=uem["device_cache_size"],
        persist_seconds=uem["persist_seconds"],
        administrators=certificate_login.administrators(tree),
    )


def _link(tree: Tree) -> UemLink:
    uem, core = tree["uem"], is_core(tree)
    elsewhere = is_elsewhere(tree)
    trust = AUTHORITIES if elsewhere else AUTHORITY
    spoken, pushed = (tls.profile(tree, one)._asdict() for one in ("uem", "management"))
    push_tls = ServerTls(certificate=certificate_path("uem-push"), key=key_path("uem-push"), client_ca=trust, **pushed)
    enrolled = "enrolment_url" in uem
    return UemLink(
        mode=uem["mode"],
        url=uem["url"] if elsewhere else f"https://{ADDRESS}:{PORT}",
        tls=ClientTls(trust=trust, **spoken)
        if enrolled
        else ClientTls(trust=trust, certificate=certificate_path("agent"), key=key_path("agent"), **spoken),
        enrolment=EnrolmentLink(url=uem["enrolment_url"], sentry=uem["sentry_name"]) if enrolled else None,
        push_addresses=interfaces.listen_addresses(tree, [uem["zone"]]) if core else (ADDRESS,),
        push_port=PUSH_PORT,
        push_tls=None if uem["mode"] == "cloud" else push_tls,
        push_networks=tuple(uem["addresses"]) if core else (f"{ADDRESS}/32",),
        push_subject="" if uem["mode"] == "cloud" else uem["push_subject"] if core else subject("uem-client"),
        timeout_seconds=uem["timeout_seconds"],
        resync_seconds=uem["resync_seconds"],
        check_ins=CheckIns(**uem["check_ins"]),
    )


def render(tree: Tree) -> Mapping[str, File]:
    """Whose certificates a UEM on another machine has; or that the one in the box is wanted, without which it does not start."""
    if tree["uem"]["mode"] in vendors.MODES:
        return vendors.render(tree)
    if is_elsewhere(tree):
        return {AUTHORITIES: File(tree["uem"]["authorities"])}
    return {EMBEDDED: File("The UEM in the box runs while this file is here.\n")}


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The agent's way to the UEM and the UEM's to the agent, where it is on another machine; else the port stays closed."""
    if tree["uem"]["mode"] in vendors.MODES:
        return vendors.flows(tree)
    if not is_elsewhere(tree):
        return ()
    uem = tree["uem"]
    places = dict.fromkeys(values.place_of(uem[name]) for name in ("url", "enrolment_url") if name in uem)
    out = tuple(
        Flow("uem", "out", "tcp", port, uem["zone"], dns.addresses_of(tree, host), AGENT) for host, port in places
    )
    if not is_core(tree):
        return out
    return (Flow("uem", "in", "tcp", PUSH_PORT, uem["zone"], tuple(uem["addresses"])), *out)


def _is_subject(text: str) -> bool:
    return len(text) <= SUBJECT_CHARS and written(text) == text


def _is_url(text: str) -> bool:
    url = values.url_of(text, "https")
    return url is not None and not url.query and not url.path.strip("/")


def server(tree: Tree) -> UemServer | None:
    """The embedded UEM's part of the settings, where there is one."""
    if tree["uem"]["mode"] != "embedded":
        return None
    # It pushes to our own port, so it speaks what that port does.
    spoken, pushes = (tls.profile(tree, one)._asdict() for one in ("uem", "management"))
    return UemServer(
        address=ADDRESS,
        port=PORT,
        tls=ServerTls(certificate=certificate_path("uem"), key=key_path("uem"), client_ca=AUTHORITY, **spoken),
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
        push_tls=ClientTls(
            trust=AUTHORITY, certificate=certificate_path("uem-client"), key=key_path("uem-client"), **pushes
        ),
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
            {"type": "string", "allowed": ["embedded", "core", "cloud", *vendors.MODES]},
            "Mode",
            "embedded: the UEM in the box, on loopback; administrators reach it through the command line. core: one on another "
            "machine, which this gateway asks and which pushes its changes to port 9090. cloud: one that this gateway calls, and "
            "that calls nobody: port 9090 is closed. epmm, intune: one of another vendor,"
            " see docs/uem-adapters.md.",
            default="embedded",
        ),
        url=values.described(
            values.text_kind(_is_url, URL), "UEM at", "Where the UEM answers, in the modes core and cloud."
        ),
        enrolment_url=values.described(
            values.text_kind(_is_url, URL),
            "UEM enrols at",
            "Where the UEM gives this gateway its certificate, in the modes core and cloud: https:// with host and port. "
            "`uem enrol` asks for the token. Without it the gateway has a certificate of its own authority.",
        ),
        sentry_name=values.described(
            values.text_kind(SENTRY_NAME.fullmatch, NAME),
            "Name at the UEM",
            "Under which name this gateway enrols.",
        ),
        authorities=values.described(
            values.PEM_KIND,
            "UEM's authorities",
            "PEM of those that issue the UEM's certificates, both as a server and for its pushes, in the modes core and cloud.",
        ),
        addresses=values.several(
            values.NETWORK_KIND,
            "UEM's addresses",
            "From where the UEM pushes, in mode core; port 9090 is closed to everybody else (V-250985).",
            most=ADDRESSES,
            default=[],
        ),
        push_subject=values.described(
            values.text_kind(_is_subject, SUBJECT),
            "UEM's push certificate",
            "The subject of the certificate with which the UEM pushes, in mode core, as RFC 4514 writes it. Its authorities may "
            "issue others' certificates, too; none of those may push.",
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
            "What a new device gets while the UEM cannot be reached. Known devices go on. In mode cloud it is set there.",
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
        check_ins={
            **values.group(
                "Check-ins",
                "How often a UEM in mode cloud is checked in with; each on its own schedule, drawn within a tenth.",
                compliance_seconds=values.number(
                    "Compliance (seconds)", "For the compliance of devices.", low=10, high=3_600, default=60
                ),
                actions_seconds=values.number(
                    "Actions (seconds)", "For what administrators did there.", low=10, high=3_600, default=60
                ),
                inventory_seconds=values.number(
                    "Inventory (seconds)", "With what is new in the device list.", low=60, high=86_400, default=900
                ),
            ),
            "default": {},
        },
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
