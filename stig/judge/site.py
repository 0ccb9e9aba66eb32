"""What is compared with the site's own word: V-250985 (the UEM), V-251007 (the release), V-251022 (ports), V-251024 (servers that
log-ins go to), V-251034 (routes)."""

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stig.verdict import Point, Verdict


def uem(
    verified: Mapping[str, str], shown: Mapping[str, str], addresses: Collection[str], backends: Collection[str]
) -> Verdict:
    """V-250985: who pushes is verified, pushes come from the UEM's addresses alone, and traffic goes to declared servers."""
    source = verified.get("EMM-source-verify", "nothing")
    found = [part.strip() for part in shown.get("emm-ips", "").split(",") if part.strip()]
    strangers = sorted(one for one in found if not _among(one, addresses))
    return Verdict(
        (
            Point("CLI: show sentry EMM-source-verify", source, "true", source == "true"),
            Point(
                "CLI: show sentry emm-ips",
                ", ".join(found) or "none",
                ", ".join(addresses),
                bool(found) and not strangers,
            ),
            Point(
                "CLI: show backends", ", ".join(backends) or "none", "the servers behind the gateway", bool(backends)
            ),
        ),
        reading=(
            "The access list that the rule asks for is made of the same addresses: nobody else reaches the port the UEM pushes "
            "to (nft list ruleset shows it)."
        ),
    )


def _among(one: str, networks: Collection[str]) -> bool:
    try:
        inner = ipaddress.ip_network(one, strict=False)
        outer = [ipaddress.ip_network(network, strict=False) for network in networks]
    except ValueError:
        return False
    return any(inner.version == each.version and inner.subnet_of(each) for each in outer)  # type: ignore[arg-type]  # one version


def release(running: str, supported: Collection[str]) -> Verdict:
    """V-251007: the running release is one of those that are supported."""
    return Verdict(
        (Point("CLI: show version (Sentry)", running or "nothing", " or ".join(supported), running in supported),),
        reading="Which releases are supported is published outside the appliance; the site has looked it up and says so.",
    )


def designated(hosts: Collection[str], allowed: Collection[str]) -> Verdict:
    """V-251024: log-ins go to the servers the site has named, and to no other."""
    strangers = sorted(set(hosts) - set(allowed))
    return Verdict(
        (
            Point("CLI: show backends (host)", ", ".join(hosts) or "none", "at least one server", bool(hosts)),
            Point(
                "the same, of which the site has not named",
                ", ".join(strangers) or "none",
                f"none beside {', '.join(allowed)}",
                not strangers,
            ),
        ),
        reading=(
            "Devices' credentials go to the servers behind the gateway and nowhere else: the packet filter lets the gateway dial "
            "these only. Which are intended is for the site to say."
        ),
    )


@dataclass(frozen=True, slots=True)
class Reach:
    """What answers from outside: by zone, those of the ports that something listens on which take a connection there. `tried` are
    these ports."""

    tried: tuple[int, ...]
    answering: Mapping[str, tuple[int, ...]]


def ports(facts: Reach, needed: Mapping[str, Collection[int]]) -> Verdict:
    """V-251022: in each zone what the site needs answers, and nothing else."""
    zones = sorted({*facts.answering, *needed})
    return Verdict(
        tuple(
            Point(
                f"TCP connect in zone {zone} to each port that something listens on ({_numbers(facts.tried)})",
                _numbers(facts.answering.get(zone, ())),
                _numbers(needed.get(zone, ())),
                set(facts.answering.get(zone, ())) == set(needed.get(zone, ())),
            )
            for zone in zones
        ),
        reading=(
            "What the site needs is in its answer file. A port that nothing listens on answers nobody, so those that something "
            "listens on are tried, in each zone the scan was given an address in."
        ),
    )


def _numbers(found: Collection[int]) -> str:
    return ", ".join(map(str, sorted(found))) or "none"


def routes(found: Collection[str], approved: Collection[str]) -> Verdict:
    """V-251034: every route is one that the site has approved. Networks the appliance itself stands in are no choice of route."""
    strangers = sorted(set(found) - set(approved))
    return Verdict(
        (
            Point(
                "ip -j route show: routes by a next hop",
                ", ".join(sorted(found)) or "none",
                "those approved",
                not strangers,
            ),
            Point(
                "the same, of which the site has not approved", ", ".join(strangers) or "none", "none", not strangers
            ),
        )
    )
