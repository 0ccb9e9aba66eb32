"""Topics about the gateway's work: services, backends, the UEM and the device list."""

from collections.abc import Mapping
from typing import Any

from appliance.apply import stamp
from appliance.configd.api import Facts, Table
from appliance.configd.errors import refused
from appliance.configd.facts.context import Context, Topic, word
from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Record

DEVICES = 2_000  # rows of one answer: 400 KiB of JSON; longer lists are searched by device id
PAGE = 500
REVOCATION_COLUMNS = ("kind", "from", "authority", "state", "made", "ends", "entries", "problem")
COLUMNS = ("device", "user", "state", "reasons", "type", "registered", "last change")


def _pairs(found: Mapping[str, Any], before: str = "") -> tuple[tuple[str, str], ...]:
    listed: list[tuple[str, str]] = []
    for key, value in found.items():
        name = f"{before}{key}"
        listed.extend(_pairs(value, f"{name}.") if isinstance(value, Mapping) else [(name, word(value))])
    return tuple(listed)


def _status(context: Context, path: str) -> tuple[tuple[str, str], ...]:
    """What a process of the data plane says of itself; that it does not answer is a fact, too."""
    try:
        found = context.call(path, control.Status(), dict[str, Any])
    except control.ControlError as error:
        return (("status", f"does not answer: {error}"),)
    return _pairs(found)


def gateway(context: Context, _argument: str) -> Facts:
    """How devices and balancers may come in, and the gateway's own counters."""
    return Facts(title="gateway", facts=(*_ways_in(context), *_status(context, context.paths.gateway_control)))


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
    return Facts(title="agent", facts=_status(context, context.paths.agent_socket))


def portal(context: Context, _argument: str) -> Facts:
    """How the portal is reached."""
    settings = context.setting("portal", default={})
    state = context.system.run(
        ["systemctl", "show", "--property=ActiveState", "--value", "--", "sentry-portal.service"]
    )
    return Facts(title="portal", facts=(("state", state.strip()), *_pairs(settings)))


def backends(context: Context, _argument: str) -> Table:
    """The servers behind the gateway."""
    held = context.setting("backends", "servers", default={})
    found = tuple(
        (name, word(one.get("host")), word(one.get("port")), word(one.get("server_name")), word(one.get("tls", "yes")))
        for name, one in sorted(held.items())
    )
    return Table(title="backends", columns=("name", "host", "port", "certificate name", "TLS"), rows=found)


def uem(context: Context, _argument: str) -> Facts:
    """The configured UEM, and what the agent says of the link."""
    settings = context.setting("uem", default={})
    return Facts(title="uem", facts=(*_pairs(settings), *_status(context, context.paths.agent_socket)))


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
    return Table(title=f"devices{more}", columns=COLUMNS, rows=tuple(_row(record) for record in found))


def _row(record: Record) -> tuple[str, ...]:
    return (
        record.key.device_id,
        record.key.principal,
        record.state.value,
        word([reason.value for reason in record.reasons]),
        record.device_type,
        word(record.registered),
        stamp(record.updated) if record.updated else "",
    )


def device(context: Context, argument: str) -> Table:
    """Every record of one device id."""
    if not argument:
        raise refused("invalid", "found no device id; allowed: show device <id>")
    found = context.call(context.paths.agent_socket, control.ShowDevice(device_id=argument), list[Record])
    return Table(title=f"device {argument}", columns=COLUMNS, rows=tuple(_row(record) for record in found))


def emm_source_verify(context: Context, _argument: str) -> Facts:
    """Whether who pushes from the UEM is verified (V-250985): the push listener takes nothing without the UEM's client
    certificate, and there is no setting that would turn that off."""
    known = bool(context.setting("uem", default={}))
    return Facts(title="emm-source-verify", facts=(("EMM-source-verify", "true" if known else "not configured"),))


def emm_ips(context: Context, _argument: str) -> Facts:
    """The addresses the UEM may push from (V-250985): the embedded one is on loopback."""
    mode = context.setting("uem", "mode", default="")
    found = context.setting("uem", "addresses", default=["127.0.0.1"] if mode == "embedded" else [])
    return Facts(title="emm-ips", facts=(("emm-ips", word(found) or "not configured"),))


TOPICS = {
    "gateway": Topic("the gateway's counters", gateway),
    "revocation": Topic("revocation lists and responders", revocation),
    "agent": Topic("the agent's counters", agent),
    "portal": Topic("the portal", portal),
    "backends": Topic("servers behind the gateway", backends),
    "uem": Topic("the UEM and the link to it", uem),
    "devices": Topic("the device list", devices),
    "device": Topic("one device", device, argument="device id"),
    "emm-source-verify": Topic("whether the UEM's pushes are verified", emm_source_verify),
    "emm-ips": Topic("where the UEM may push from", emm_ips),
}
