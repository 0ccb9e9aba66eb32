"""Topics about the gateway's work: services, backends, the UEM and the device list."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from appliance.apply import stamp
from appliance.config.secrets import masked
from appliance.configd import wipes
from appliance.configd.api import Facts, Table
from appliance.configd.errors import refused
from appliance.configd.facts.context import Context, Topic, word
from appliance.features.values import minute_of
from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Record

DEVICES = 2_000  # rows of one answer: 400 KiB of JSON; longer lists are searched by device id
PAGE = 500
BACKEND_COLUMNS = ("name", "host", "port", "certificate name", "verification", "priority", "domains", "state")
REDIRECT_COLUMNS = ("device", "user", "server", "sent by", "remembered (s)")
REVOCATION_COLUMNS = ("kind", "from", "authority", "state", "made", "ends", "entries", "problem")
RULE_COLUMNS = ("order", "name", "action", "state", "user", "device", "type", "network", "expires", "note")
COLUMNS = ("device", "user", "state", "reasons", "type", "registered", "last change")

PORTAL_UNITS = (("state", "sentry-portal.service"), ("TLS proxy", "sentry-tls-proxy.service"))


def _pairs(found: Mapping[str, Any], before: str = "") -> tuple[tuple[str, str], ...]:
    listed: list[tuple[str, str]] = []
    for key, value in found.items():
        name = f"{before}{key}"
        listed.extend(_pairs(value, f"{name}.") if isinstance(value, Mapping) else [(name, word(value))])
    return tuple(listed)


def said_by(context: Context, path: str) -> tuple[tuple[str, str], ...]:
    """What a process of the data plane says of itself; that it does not answer is a fact, too."""
    try:
        found = context.call(path, control.Status(), dict[str, Any])
    except control.ControlError as error:
        return (("status", f"does not answer: {error}"),)
    return _pairs(found)


def gateway(context: Context, _argument: str) -> Facts:
    """How devices and balancers may come in, and the gateway's own counters."""
    return Facts(title="gateway", facts=(*_ways_in(context), *said_by(context, context.paths.gateway_control)))


def _ways_in(context: Context) -> tuple[tuple[str, str], ...]:
    """What of the configuration an auditor asks for first: that TLS is required of clients, or of whom it is not."""
    settings = context.setting("gateway", default={})
    if not settings:
        return ()
    balancers = word(settings["balancers"]["networks"]) or "none"
    client_tls = "required"
    if not settings["require_client_tls"]:
        plain = [settings["plain_port"], *(one["port"] for one in settings["listeners"].values() if not one["tls"])]
        client_tls = f"NOT required: plain HTTP on port {word(sorted(plain))} from {balancers}"
    auth = settings["device_authentication"]
    return (
        ("client TLS", client_tls),
        ("balancers", balancers),
        ("PROXY protocol", settings["balancers"]["proxy_protocol"]),
        ("device authentication", auth["mode"]),
        ("front ends", word(auth["front_ends"]) or "none"),
    )


def revocation(context: Context, _argument: str) -> Table:
    """What devices' certificates are judged by: each list, and the responder."""
    found = context.call(context.paths.agent_socket, control.ShowRevocation(), list[control.RevocationSource])
    rows = tuple(
        (one.kind, one.place, one.issuer, one.state, _stamp(one.made), _stamp(one.ends), word(one.entries), one.problem)
        for one in found
    )
    return Table(title="revocation", columns=REVOCATION_COLUMNS, rows=rows)


def _stamp(seconds: float) -> str:
    return stamp(seconds) if seconds else ""


def agent(context: Context, _argument: str) -> Facts:
    """The agent's own counters."""
    return Facts(title="agent", facts=said_by(context, context.paths.agent_socket))


def portal(context: Context, _argument: str) -> Facts:
    """How the portal is reached."""
    settings = context.setting("portal", default={})
    asked = ["systemctl", "show", "--property=ActiveState", "--value", "--"]
    states = [(name, context.system.run([*asked, unit]).strip()) for name, unit in PORTAL_UNITS]
    said = {name: value for name, value in settings.items() if name != "certificate_login"}  # it has a topic of its own
    return Facts(title="portal", facts=(*states, *_pairs(said)))


def backends(context: Context, _argument: str) -> Table:
    """The servers behind the gateway, and how many of its workers have each up or down."""
    held = context.setting("backends", "servers", default={})
    pools = context.setting("backends", "domains", default={})
    said = dict(said_by(context, context.paths.gateway_control))
    found = tuple(
        (
            name,
            word(one.get("host")),
            word(one.get("port")),
            word(one.get("server_name")),
            _certificate(one),
            word(one.get("priority")),
            word([domain for domain, names in sorted(pools.items()) if name in names]),
            _health(name, said),
        )
        for name, one in sorted(held.items())
    )
    return Table(title="backends", columns=BACKEND_COLUMNS, rows=found)


def _certificate(server: Mapping[str, Any]) -> str:
    if not server.get("tls", True):
        return "no TLS"
    return "strict" if server.get("verify", "strict") == "strict" else "any, logged"


def _health(name: str, said: Mapping[str, str]) -> str:
    """What the workers say: `up`, `down (why)`, or how many say what."""
    up, down, reason = (said.get(f"backend.{name}.{what}", "") for what in ("up", "down", "reason"))
    if not up or (up, down) == ("0", "0"):
        return "unknown"
    if down == "0":
        return "up"
    return f"down ({reason})" if up == "0" else f"down for {down} of {int(up) + int(down)} workers ({reason})"


def redirects(context: Context, _argument: str) -> Table:
    """The devices that a backend has sent to another server, in key order."""
    found: list[control.Redirected] = []
    while len(found) < DEVICES:
        request = control.ListRedirects(after=found[-1].key if found else None)
        page = context.call(context.paths.gateway_control, request, list[control.Redirected])
        if not page:
            break
        found += page
    more = " (the first)" if len(found) >= DEVICES else ""
    rows = tuple(
        (one.key.device_id, one.key.principal, f"{one.host}:{one.port}", one.backend, str(one.seconds)) for one in found
    )
    return Table(title=f"redirects{more}", columns=REDIRECT_COLUMNS, rows=rows)


_OF_THE_LINK = ("link", "uem", "digests", "repaired", "cursor", "status")
"""What of the agent's own status is about its UEM, by the first word of the name; the rest is `show agent`'s."""


def uem(context: Context, _argument: str) -> Facts:
    """The configured UEM, and what the agent says of the link."""
    held = context.setting("uem", default={})
    settings = masked(
        {name: value for name, value in held.items() if name not in ("policies", "security_policies", "authorities")}
    )  # topics of their own, and PEM
    said = said_by(context, context.paths.agent_socket)
    link = tuple((name, value) for name, value in said if name.partition("_")[0] in _OF_THE_LINK)
    return Facts(title="uem", facts=(*_pairs(settings), *link))


def devices(context: Context, _argument: str) -> Table:
    """The device list, in key order."""
    found: list[Record] = []
    after: DeviceKey | None = None
    while len(found) < DEVICES:
        request = control.ListDevices(after=after, limit=PAGE)
        page = context.call(context.paths.agent_socket, request, list[Record])
        if not page:  # a short page is no sign of the end: a line's size bounds it too
            break
        found += page
        after = page[-1].key
    more = " (the first; show device <id> finds one)" if len(found) >= DEVICES else ""
    return Table(title=f"devices{more}", columns=COLUMNS, rows=tuple(row(record) for record in found))


def row(record: Record) -> tuple[str, ...]:
    """An entry under `COLUMNS`."""
    return (
        record.key.device_id,
        record.key.principal,
        wipes.state(record),
        word([reason.value for reason in record.reasons]),
        record.device_type,
        word(record.registered),
        stamp(record.updated) if record.updated else "",
    )


def device(context: Context, argument: str) -> Table:
    """All that is known of one device id: a column for each of its users."""
    if not argument:
        raise refused("invalid", "found no device id; allowed: show device <id>")
    agent, uem = context.paths.agent_socket, context.paths.uem_admin
    found = context.call(agent, control.ShowDevice(device_id=argument), list[Record])
    if not found:
        return Table(title=f"device {argument}", columns=("fact",), rows=())
    details = {
        one.key: one for one in context.call(agent, control.ShowDetails(device_id=argument), list[control.Details])
    }
    try:
        at_uem = context.call(uem, control.ShowRegistered(device_id=argument), list[control.Registered])
    except control.ControlError:  # no UEM in the box, or it is away: the agent has all but the policy's name
        at_uem = []
    named = {one.key: one for one in at_uem}
    sheets = [_sheet(record, details.get(record.key), named.get(record.key)) for record in found]
    names = dict.fromkeys(name for sheet in sheets for name in sheet)
    rows = tuple((name, *(sheet.get(name, "") for sheet in sheets)) for name in names)
    return Table(title=f"device {argument}", columns=("fact", *(one.key.principal for one in found)), rows=rows)


def _sheet(record: Record, details: control.Details | None, named: control.Registered | None) -> dict[str, str]:
    """The facts of one entry, by their names."""
    facts = dict(zip(COLUMNS, row(record), strict=True))
    facts |= {name: text for name, text in (("wipe", wipes.told(record)), ("note", record.note)) if text}
    facts["policy"] = _policy(record, named)
    said = details.information if details is not None else None
    said = said or (named.information if named is not None else None)
    if said is not None:
        facts |= {name.replace("_", " "): str(text) for name, text in msgspec.structs.asdict(said).items() if text}
    if details is not None and details.policy is not None:
        facts |= _elements(details.policy)
    if details is not None:
        facts |= _tunnels(details)
    return facts


def _tunnels(details: control.Details) -> dict[str, str]:
    """The app tunnels of a device, by their names."""
    if details.tunnels is None:
        return {"tunnels": "some, for which the device cache has no room"}
    return {
        f"tunnel.{one.name}": f"{one.host}:{one.port} ({word([how.value for how in one.authentication])})"
        for one in details.tunnels
    }


def _policy(record: Record, named: control.Registered | None) -> str:
    if record.provisional and record.policy:
        return "temporary: a simple passcode, while the UEM is away"
    assigned = f"{named.policy}, assigned" if named is not None and named.policy else ""
    if record.policy:
        return f"{assigned or 'the default one of the UEM'} ({record.policy.hex()[:12]})"
    return f"{assigned}, which is not in the settings: the gateway's own" if assigned else "the gateway's own"


def _elements(policy: Any) -> dict[str, str]:
    """What a policy says, by its settings' names."""
    said = msgspec.to_builtins(policy)
    return {f"policy.{name}": word(value) for name, value in said.items()}


def policies(context: Context, _argument: str) -> Table:
    """The policies of the UEM in the box. Raises an `invalid` refusal where another one is in use."""
    mode = context.setting("uem", "mode", default="embedded")
    if mode != "embedded":
        raise refused("invalid", f"not applicable: found the UEM mode {mode}; that UEM shows its policies itself")
    found = context.call(context.paths.uem_admin, control.ListPolicies(), list[control.NamedPolicy])
    rows = tuple(
        (one.name, word(one.default), word(one.assigned), ", ".join(_said(one.policy)) or "restricts nothing")
        for one in found
    )
    return Table(title="policies", columns=("policy", "default", "assigned to", "settings"), rows=rows)


def _said(policy: Any) -> Iterable[str]:
    return (f"{name.removeprefix('policy.')} {value}" for name, value in _elements(policy).items())


def rules(context: Context, _argument: str) -> Table:
    """The site's own rules in their order, with those that have expired; and until when the gateway only observes."""
    held = context.setting("gateway", "rules", default={})
    until = context.setting("gateway", "observe", "until", default="")
    observing = f" (observing until {until})" if until and not _over(until, context.now) else ""
    ordered = sorted(held.items(), key=lambda item: item[1]["order"])
    found = tuple(_rule(name, rule, context.now) for name, rule in ordered)
    return Table(title=f"rules{observing}", columns=RULE_COLUMNS, rows=found)


def _rule(name: str, rule: Mapping[str, Any], now: float) -> tuple[str, ...]:
    expires = rule.get("expires", "")
    state = "expired" if expires and _over(expires, now) else "in force"
    fields = ("user", "device", "device_type", "network", "expires", "note")
    return (word(rule["order"]), name, rule["action"], state, *(word(rule.get(field)) for field in fields))


def _over(minute: str, now: float) -> bool:
    return minute_of(minute).timestamp() <= now


def emm_source_verify(context: Context, _argument: str) -> Facts:
    """Whether who pushes from the UEM is verified (V-250985): the push listener takes nothing without the UEM's client
    certificate, and there is no setting that would turn that off."""
    known = bool(context.setting("uem", default={}))
    return Facts(title="emm-source-verify", facts=(("EMM-source-verify", "true" if known else "not configured"),))


def emm_ips(context: Context, _argument: str) -> Facts:
    """The addresses the UEM may push from (V-250985): the embedded one is on loopback."""
    mode = context.setting("uem", "mode", default="")
    found = ["127.0.0.1"] if mode == "embedded" else context.setting("uem", "addresses", default=[])
    return Facts(title="emm-ips", facts=(("emm-ips", word(found) or "not configured"),))


TOPICS = {
    "gateway": Topic("the gateway's counters", gateway),
    "revocation": Topic("revocation lists and responders", revocation),
    "agent": Topic("the agent's counters", agent),
    "portal": Topic("the portal", portal),
    "backends": Topic("servers behind the gateway", backends),
    "redirects": Topic("devices that a backend has sent elsewhere", redirects),
    "uem": Topic("the UEM and the link to it", uem),
    "devices": Topic("the device list", devices),
    "device": Topic("one device", device, argument="device id"),
    "rules": Topic("the site's own rules on devices", rules),
    "policies": Topic("the UEM's ActiveSync policies", policies),
    "emm-source-verify": Topic("whether the UEM's pushes are verified", emm_source_verify),
    "emm-ips": Topic("where the UEM may push from", emm_ips),
}
