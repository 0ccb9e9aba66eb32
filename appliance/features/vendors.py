"""UEMs of other vendors, asked by their public APIs: Ivanti EPMM and Microsoft Intune.

A part of the feature `uem`, which has these groups in its schema. What the agent does with them is in docs/uem-adapters.md.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from appliance import uem_secret
from appliance.features import backends, dns, tls, values
from appliance.features.base import File, Flow, Problem, Tree
from appliance.features.values import Rules
from sentry_runtime.settings import ClientTls, Epmm, Intune, UemLink

MODES = tuple(uem_secret.FIELDS)
USER = "sentry-agent"
# No backend's name has a dot in it, so no backend's anchors lie there.
TRUST = f"{backends.TRUST}/uem.vendor.pem"
POLL_SECONDS = 300  # a fleet's whole list each time
NETWORKS = 64
GRAPH, LOGIN = "graph.microsoft.com", "login.microsoftonline.com"

ONE_LINE = "one line of 1 to 1024 printable characters"
ACCOUNT = "an account's name of 1 to 128 printable characters without blanks and colons"
TENANT = "a tenant's id or its domain, such as example.onmicrosoft.com"
CLIENT = "an application's (client) id, such as 0d1c6f2e-5a5e-4a9f-8d7e-3b0f5a1c2d3e"
_ACCOUNT = re.compile(r"[^\s:\x00-\x1f\x7f]{1,128}")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
_CLIENT = re.compile(r"[A-Za-z0-9]{8}(-[A-Za-z0-9]{4}){3}-[A-Za-z0-9]{12}")


def verify(tree: Tree) -> Iterator[Problem]:
    """The mode has its settings, and no other UEM has any: they would be without effect."""
    uem = tree["uem"]
    for mode in MODES:
        if mode == uem["mode"] and mode not in uem:
            yield Problem(f"uem.{mode}", "nothing", f"settings: the mode is {mode}")
        if mode != uem["mode"] and mode in uem:
            yield Problem(f"uem.{mode}", "settings", f"none, since the mode is {uem['mode']}")


def link(tree: Tree) -> UemLink:
    """The agent's link in one of these modes."""
    uem = tree["uem"]
    mode = uem["mode"]
    held = uem[mode]
    return UemLink(
        mode=mode,
        url=_url(held["host"], held["port"]),
        tls=ClientTls(
            trust=TRUST if "ca_certificates" in held else backends.SYSTEM_TRUST,
            **tls.profile(tree, "uem")._asdict(),
        ),
        adapter=_ADAPTERS[mode](held, auto_block=uem["auto_block_unregistered"]),
        timeout_seconds=uem["timeout_seconds"],
        resync_seconds=held["poll_seconds"],
    )


def _url(host: str, port: int) -> str:
    address = values.address_of(host)
    shown = f"[{host}]" if address is not None and address.version == 6 else host
    return f"https://{shown}" if port == 443 else f"https://{shown}:{port}"


def _epmm(held: Mapping[str, Any], *, auto_block: bool) -> Epmm:
    return Epmm(
        account=held["account"],
        password=uem_secret.PLACE,
        device_space=held["device_space"],
        principal=held["user_field"],
        block_unregistered=auto_block,
        contact_days=held["contact_days"],
    )


def _intune(held: Mapping[str, Any], *, auto_block: bool) -> Intune:
    return Intune(
        login_url=f"https://{held['login_host']}",
        tenant=held["tenant"],
        client=held["client"],
        secret=uem_secret.PLACE,
        principal=held["user_field"],
        block_unregistered=auto_block,
        block_unencrypted=held["block_unencrypted"],
        contact_days=held["contact_days"],
    )


_ADAPTERS: dict[str, Callable[..., Epmm | Intune]] = {"epmm": _epmm, "intune": _intune}


def _held(tree: Tree) -> Mapping[str, Any] | None:
    uem = tree["uem"]
    found: Mapping[str, Any] | None = uem.get(uem["mode"]) if uem["mode"] in MODES else None
    return found


def render(tree: Tree) -> Mapping[str, File]:
    """The authorities that are believed for the UEM, where the site says which."""
    held = _held(tree)
    return {TRUST: File(held["ca_certificates"])} if held and "ca_certificates" in held else {}


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The agent's ways to the UEM, and to where its tokens are from: into the listed networks, or to the static address of the
    name. A name that has neither may be anybody."""
    held = _held(tree)
    if held is None:
        return ()
    places = [(held["host"], held["port"]), *([(held["login_host"], 443)] if "login_host" in held else [])]
    networks = tuple(held["networks"])
    found = {
        Flow("uem", "out", "tcp", port, None, networks or dns.addresses_of(tree, host), USER) for host, port in places
    }
    return tuple(sorted(found, key=lambda flow: (flow.port, flow.peers)))


def _is_secret(text: str) -> bool:
    return 0 < len(text) <= 1_024 and text.isprintable()


def _choice(words: Iterable[str], default: str, label: str, text: str) -> Rules:
    return values.described({"type": "string", "allowed": list(words)}, label, text, default=default)


def _common() -> dict[str, Rules]:
    return {
        "contact_days": values.number(
            "Contact (days)",
            "A device that the UEM has not heard of for longer is blocked; 0: it may be any time.",
            low=0,
            high=365,
            default=0,
        ),
        "poll_seconds": values.number(
            "Poll (seconds)",
            "How often the whole list is read; until then a change there is not known here.",
            low=60,
            high=3_600,
            default=POLL_SECONDS,
        ),
        "ca_certificates": values.described(
            values.PEM_KIND, "CA certificates", "PEM of the authorities believed for it. Without it: the system's."
        ),
        "networks": values.several(
            values.NETWORK_KIND,
            "Networks",
            "In which its addresses lie; the firewall lets the agent out to these. Empty: to the static address of its name"
            " (`dns.static_hosts`), or to anybody where that has none.",
            most=NETWORKS,
            default=[],
        ),
    }


EPMM = values.group(
    "Ivanti EPMM",
    "With mode epmm. The account needs to see devices and ActiveSync devices, nothing else; see docs/uem-adapters.md.",
    host=values.described(values.HOST_KIND, "Host", "The server's name or address.", required=True),
    port=values.described(values.PORT_KIND, "Port", "Where its API answers.", default=443),
    account=values.described(
        values.text_kind(_ACCOUNT.fullmatch, ACCOUNT), "Account", "Whose the API's calls are.", required=True
    ),
    password=values.described(
        values.text_kind(_is_secret, ONE_LINE, secret=True), "Password", "Of this account.", required=True
    ),
    device_space=values.number(
        "Device space", "The id of the account's device space; 1 is the global one.", low=0, high=2**31 - 1, default=1
    ),
    user_field=_choice(
        ("user_name", "domain_user", "mailbox"),
        "user_name",
        "User field",
        "Which field of a device names its user as the phone does: userName, domain and userName, or mailboxId.",
    ),
    **_common(),
)
INTUNE = values.group(
    "Microsoft Intune",
    "With mode intune. The application needs DeviceManagementManagedDevices.Read.All, nothing else; see docs/uem-adapters.md.",
    tenant=values.described(
        values.text_kind(_TENANT.fullmatch, TENANT), "Tenant", "Whose devices these are.", required=True
    ),
    client=values.described(
        values.text_kind(_CLIENT.fullmatch, CLIENT),
        "Client",
        "The application that this Sentry is in the tenant.",
        required=True,
    ),
    client_secret=values.described(
        values.text_kind(_is_secret, ONE_LINE, secret=True), "Client secret", "Of this application.", required=True
    ),
    host=values.described(
        values.HOST_KIND, "Host", "Microsoft Graph; national clouds have another one.", default=GRAPH
    ),
    port=values.described(values.PORT_KIND, "Port", "Where it answers.", default=443),
    login_host=values.described(values.NAME_KIND, "Login host", "Where tokens are from.", default=LOGIN),
    user_field=_choice(
        ("user_principal_name", "email_address"),
        "user_principal_name",
        "User field",
        "Which property of a device names its user as the phone does.",
    ),
    block_unencrypted=values.switch(
        "Block unencrypted devices", "Also where the tenant's policies do not ask for encryption.", default=False
    ),
    **_common(),
)
GROUPS = {"epmm": EPMM, "intune": INTUNE}
