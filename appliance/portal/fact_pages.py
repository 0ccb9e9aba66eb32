"""Everything that can be looked at: topics by their names, the logs, and what an assessor asks for first."""

import asyncio
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from appliance.portal.showing import block
from appliance.portal.visit import LIVE, Visit

FOLLOW_SECONDS = 5  # between two looks at a log that is followed
ARGUMENT_CHARACTERS = 64  # as configd takes it
LOGS: Final = {"": "Administrators and log-ins", "gateway": "The gateway's decisions"}
TOPICS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "Machine": (
        ("version", "Version"),
        ("system", "The machine"),
        ("system-resources", "Resources in use"),
        ("hostname", "Host name"),
        ("clock", "Clock"),
        ("uptime", "Up time and load"),
        ("memory", "Memory"),
        ("processes", "Processes"),
        ("services", "Services"),
        ("kparam", "Kernel parameters"),
        ("watchdog", "Services that hung"),
        ("banner", "Log-in banner"),
        ("tech", "Everything for support"),
    ),
    "Network": (
        ("interfaces", "Interfaces"),
        ("arp", "Neighbours (ARP, ND)"),
        ("routes", "Routes"),
        ("dns", "Name servers"),
        ("domain-name", "Domain"),
        ("static-hosts", "Static hosts"),
        ("ntp", "Time servers"),
        ("ports", "Ports"),
        ("tcp", "Sockets"),
        ("firewall", "Packet filter"),
        ("acl", "Access control lists"),
        ("portal-acl", "From where each way in answers"),
        ("connectivity", "Connectivity"),
        ("capture", "Capture of packets"),
    ),
    "Gateway": (
        ("gateway", "Gateway"),
        ("agent", "Agent"),
        ("statistics", "Statistics"),
        ("backends", "Servers behind it"),
        ("redirects", "Redirections"),
        ("rules", "The site's own rules"),
        ("revocation", "Revocation"),
        ("device-states", "Devices by state"),
        ("devices", "Device list"),
        ("uem", "UEM"),
        ("policies", "Policies"),
        ("emm-source-verify", "Whether pushes are verified"),
        ("emm-ips", "From where the UEM pushes"),
    ),
    "Management": (
        ("users", "Accounts"),
        ("sessions", "Who is logged in"),
        ("timeout", "Idle times and limits"),
        ("confirmation", "Unconfirmed commit"),
        ("certificates", "Certificates"),
        ("certificate-login", "Log-in by certificate"),
        ("directory", "The site's directory"),
        ("httpd-protocol", "TLS of the management ports"),
        ("ssh", "SSH"),
        ("fips", "FIPS 140 mode"),
        ("portal", "This portal"),
        ("certificate-login", "Log-in by certificate"),
        ("syslog", "Log servers"),
        ("snmp", "SNMP"),
        ("alerts", "Alerts"),
        ("alerts-delivery", "Delivery of alerts"),
        ("alerts-ids", "The alerts there are"),
        ("backups", "Backups that lie here"),
        ("downloads", "Files that wait to be fetched"),
        ("backup-destinations", "Where backups are sent"),
        ("backup-key", "The key for SFTP servers"),
        ("config-properties", "Settings as a flat list"),
        ("stig", "The last STIG scan"),
        ("stig-open", "Open rules of the STIGs"),
        ("facts", "Facts that a STIG scan asks"),
    ),
}
"""The topics of configd's `show` that stand on the page of facts, by group."""
ARGUMENTS: Final = {"config-properties": "Part of a path", "fips": "self-test", "certificates": "A service"}
TITLES: Final = {topic: title for group in TOPICS.values() for topic, title in group}
COMPLIANCE: Final = (
    ("fips", "FIPS 140 mode (V-250995, V-251001)"),
    ("timeout", "Session limits and idle times (V-250982, V-250984, V-250996)"),
    ("portal-acl", "From where management answers (V-250983, V-250985)"),
    ("certificate-login", "Log-in by certificate, and EDIPI (V-250988, V-250994)"),
    ("httpd-protocol", "TLS of the management ports (V-250985)"),
    ("clock", "Time (V-250999)"),
    ("ntp", "Time servers (V-250999)"),
    ("syslog", "Log servers (V-251002, V-251006)"),
    ("alerts-delivery", "Alerts on audit failures (V-250998)"),
    ("snmp", "SNMP (V-251000)"),
    ("users", "Local accounts (V-251003)"),
    ("certificates", "Certificates (V-251005)"),
    ("version", "Release (V-251007)"),
    ("gateway", "The gateway (V-251008 and after)"),
    ("emm-source-verify", "Pushes are verified"),
    ("emm-ips", "From where the UEM pushes"),
    ("banner", "Log-in banner (V-250987)"),
)
"""What an assessor looks at, each with the rules that it is about."""


async def every(visit: Visit) -> web.Response:
    """One topic, or all their names."""
    topic, argument = visit.asked("topic"), visit.asked("argument")[:ARGUMENT_CHARACTERS]
    if topic and topic not in TITLES:
        raise web.HTTPNotFound
    frame = await visit.frame()
    found = block(await visit.show(topic, argument if topic in ARGUMENTS else "")) if topic else None
    return await visit.page(
        "facts.html.j2",
        frame=frame,
        groups=TOPICS,
        topic=topic,
        title=TITLES.get(topic, "Facts"),
        found=found,
        asks=ARGUMENTS.get(topic, ""),
        argument=argument,
    )


async def logs(visit: Visit) -> web.Response:
    """The last lines of a log; followed, the page renews itself."""
    which, follow, text = visit.asked("which"), visit.asked("follow") == "1", visit.asked("text")[:ARGUMENT_CHARACTERS]
    if which not in LOGS:
        raise web.HTTPNotFound
    frame = await visit.frame()
    lines = block(await visit.show("log", which)).lines
    wanted = [line for line in lines if text.casefold() in line.casefold()]
    return await visit.page(
        "logs.html.j2",
        frame=frame,
        which=which,
        title=LOGS[which],
        all_logs=LOGS,
        text=text,
        follow=follow,
        lines=wanted[::-1],
        of=len(lines),
        refresh=FOLLOW_SECONDS if follow else 0,
        stream=f"/logs/stream?{urlencode({'which': which, 'text': text})}",
        live=str(visit.request.rel_url.with_query({"which": which, "text": text, "follow": "1", LIVE: "1"})),
    )


async def compliance(visit: Visit) -> web.Response:
    """What the rules of the STIGs look at, in one page."""
    frame = await visit.frame()
    found = await asyncio.gather(*(visit.show(topic) for topic, _title in COMPLIANCE))
    sections = [(topic, title, block(one)) for (topic, title), one in zip(COMPLIANCE, found, strict=True)]
    return await visit.page("compliance.html.j2", frame=frame, sections=sections)
