"""The UEM: where device registrations and decisions come from. This version has the one in the box (`embedded`).

`gateway` renders what is set here into the data plane's one settings file.
"""

from collections.abc import Iterable

from appliance.features import policy, security, values
from appliance.features.base import Feature, Problem, Tree
from appliance.features.tls import AUTHORITY, certificate_path, key_path, subject
from sentry_runtime.settings import Agent, ClientTls, SentryPeer, ServerTls, UemLink, UemServer

ADDRESS = "127.0.0.1"
PORT = 9_443
PUSH_PORT = 9_090
MAILBOX_DEVICES = 1_000  # more is a mailbox that many people share; then there is nothing to limit
POLICIES = 64
GRACE_DAYS = 30  # after that the UEM forgets a device that nobody decided about
DAY_SECONDS = 86_400


def verify(tree: Tree) -> Iterable[Problem]:
    """A policy says something, and the default one is one of them."""
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


def agent(tree: Tree) -> Agent:
    """The agent's part of the settings: the link to the UEM on loopback, by mutual TLS like any other."""
    uem = tree["uem"]
    link = UemLink(
        mode=uem["mode"],
        url=f"https://{ADDRESS}:{PORT}",
        tls=ClientTls(trust=AUTHORITY, certificate=certificate_path("agent"), key=key_path("agent")),
        push_address=ADDRESS,
        push_port=PUSH_PORT,
        push_tls=ServerTls(certificate=certificate_path("uem-push"), key=key_path("uem-push"), client_ca=AUTHORITY),
        timeout_seconds=uem["timeout_seconds"],
        resync_seconds=uem["resync_seconds"],
    )
    return Agent(uem=link, fail_mode=uem["fail_mode"])


def server(tree: Tree) -> UemServer:
    """The embedded UEM's part of the settings."""
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


FEATURE = Feature(
    name="uem",
    label="UEM",
    default={},
    verify=verify,
    schema=values.group(
        "UEM",
        "Who knows the devices and decides on them.",
        mode=values.described(
            {
                "type": "string",
                "allowed": ["embedded"],
                "meta": {"allowed": "embedded (this version has no other)"},
            },
            "Mode",
            "embedded: the UEM in the box, on loopback; administrators reach it through the command line.",
            default="embedded",
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
    ),
)
