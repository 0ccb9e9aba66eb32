"""What `make appliance` says at its end: measured compliance, ports seen, addresses, how to log in, and where the time went."""

from collections.abc import Sequence
from typing import Any

from images.crossing import Heard
from images.lab.steps import Compliance
from images.probe import Seen

VERDICTS = ("not_a_finding", "open", "not_applicable", "not_reviewed", "error")


def compliance_lines(compliance: Compliance) -> list[str]:
    """A row per category and one of sums; every verdict has its column, the unflattering ones too."""
    head = f"  {'category':<10}" + "".join(f"{verdict.replace('_', ' '):>16}" for verdict in VERDICTS) + f"{'rules':>8}"
    rows = [_row(f"CAT {category}", counts) for category, counts in sorted(compliance.counts.items())]
    total = {verdict: sum(of.get(verdict, 0) for of in compliance.counts.values()) for verdict in VERDICTS}
    return [head, *rows, _row("all", total)]


def port_lines(seen: Sequence[Seen]) -> list[str]:
    """A row per zone: what answered there, and out of how many ports."""
    return [
        f"  {one.target.name:<11} {one.target.address:<12} TCP {_ports(one.tcp):<16} UDP {_ports(one.udp):<8}"
        f" ({one.asked} ports asked)"
        for one in seen
    ]


def crossing_lines(heard: Sequence[Heard]) -> list[str]:
    """A row per zone: what it reached by calling the appliance by its addresses in other zones."""
    rows = []
    for zone in dict.fromkeys(one.call.zone for one in heard):
        found = [f"{one.call.address} TCP {_ports(one.tcp)}" for one in heard if one.call.zone == zone]
        rows.append(f"  {zone:<11} by other zones' addresses: {', '.join(found)}")
    return rows


def login_lines(appliance: dict[str, Any]) -> list[str]:
    """Ready-to-paste commands for the administrator's CLI and the portal."""
    ssh = appliance["ssh"]
    return [
        f"  CLI     ssh -i {ssh['key']} -o UserKnownHostsFile={appliance['known_hosts']} -p {ssh['port']}"
        f" {ssh['user']}@{appliance['address']}",
        f"  portal  {appliance['portal_url']}  user {appliance['admin']['user']},"
        f" password in {appliance['admin']['password_file']} (CA: {appliance['ca_file']})",
        f"  devices {appliance['gateway_url']}/Microsoft-Server-ActiveSync",
    ]


def time_lines(taken: Sequence[tuple[str, float]]) -> list[str]:
    """A row per step, and their sum."""
    rows = [*taken, ("all", sum(seconds for _, seconds in taken))]
    return [f"  {name:<10} {seconds:7.1f} s" for name, seconds in rows]


def _row(name: str, counts: dict[str, int]) -> str:
    numbers = [counts.get(verdict, 0) for verdict in VERDICTS]
    return f"  {name:<10}" + "".join(f"{number:>16}" for number in numbers) + f"{sum(counts.values()):>8}"


def _ports(ports: frozenset[int]) -> str:
    return ",".join(str(port) for port in sorted(ports)) or "none"
