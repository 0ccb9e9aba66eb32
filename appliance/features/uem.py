"""The UEM: where device registrations and decisions come from: the one in the box (`embedded`), or one of another vendor that
is asked by its own API (`vendors` has these).

`gateway` renders what is set here into the data plane's one settings file.
"""

from collections.abc import Iterable

from appliance import uem_secret
from appliance.features import policy, values, vendors
from appliance.features.base import Feature, Problem, System, Tree, Unit
from appliance.features.tls import AUTHORITY, certificate_path, key_path
from sentry_runtime.settings import Agent, ClientTls, ServerTls, UemLink, UemServer

ADDRESS = "127.0.0.1"
PORT = 9_443
PUSH_PORT = 9_090
MAILBOX_DEVICES = 1_000  # more is a mailbox that many people share; then there is nothing to limit
POLICIES = 64


def verify(tree: Tree) -> Iterable[Problem]:
    """A policy says something, and the default one is one of them."""
    policies = tree["uem"]["policies"]
    for name, held in sorted(policies.items()):
        if not held:
            allowed = "at least one setting; device_password_enabled: false restricts nothing"
            yield Problem(f"uem.policies.{name}", "no setting", allowed)
        yield from policy.verify(f"uem.policies.{name}", held)
    default = tree["uem"].get("default_policy")
    if default is not None and default not in policies:
        yield Problem("uem.default_policy", repr(default), ", ".join(sorted(policies)) or "a name of uem.policies")
    yield from vendors.verify(tree)


def agent(tree: Tree) -> Agent:
    """The agent's part of the settings: the link to the UEM on loopback, by mutual TLS like any other, or to the vendor's."""
    uem = tree["uem"]
    if uem["mode"] in vendors.MODES:
        return Agent(uem=vendors.link(tree), fail_mode=uem["fail_mode"])
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
    """The embedded UEM's part of the settings. It runs in every mode, so that there is a way back; another mode's agent does not
    ask it, and nobody else may."""
    return UemServer(
        address=ADDRESS,
        port=PORT,
        tls=ServerTls(certificate=certificate_path("uem"), key=key_path("uem"), client_ca=AUTHORITY),
        auto_block_unregistered=tree["uem"]["auto_block_unregistered"],
        devices_per_mailbox=tree["uem"]["devices_per_mailbox"],
        policies={name: policy.made(held) for name, held in sorted(tree["uem"]["policies"].items())},
        default_policy=tree["uem"].get("default_policy"),
        push_url=f"https://{ADDRESS}:{PUSH_PORT}",
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
    render=vendors.render,
    reconcile=reconcile,
    flows=vendors.flows,
    units=(Unit("sentry-agent.service", "restart", (vendors.TRUST,)),),
    schema=values.group(
        "UEM",
        "Who knows the devices and decides on them.",
        mode=values.described(
            {
                "type": "string",
                "allowed": ["embedded", *vendors.MODES],
            },
            "Mode",
            "embedded: the UEM in the box, on loopback; administrators reach it through the command line. epmm, intune: a UEM of"
            " another vendor, which has all the devices; see docs/uem-adapters.md.",
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
        timeout_seconds=values.number(
            "Time-out (seconds)", "How long the UEM may take to answer.", low=1, high=7, default=5
        ),
        resync_seconds=values.number(
            "Resync (seconds)", "How often what is known is held against the UEM.", low=10, high=3_600, default=60
        ),
        **vendors.GROUPS,
    ),
)
