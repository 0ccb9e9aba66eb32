"""Time: chrony as a client of the configured servers; it serves nobody."""

from collections.abc import Mapping

from appliance.features import dns, values
from appliance.features.base import Check, Feature, File, Flow, Tree, Unit
from appliance.features.template import filled

CONFIGURATION = "/etc/chrony/chrony.conf"
SERVERS = 8  # chrony gains nothing from more; four already out-vote a liar


def render(tree: Tree) -> Mapping[str, File]:
    """The whole of chrony's configuration: no pool, no DHCP source, no port of its own."""
    return {CONFIGURATION: File(filled("chrony.conf.j2", servers=tree["ntp"]["servers"]))}


def flows(tree: Tree) -> tuple[Flow, ...]:
    """NTP to the servers' addresses. A server given by a name that `dns.static_hosts` does not know may be anybody:
    rendering asks no DNS, and what DNS says today may be wrong tomorrow."""
    found = [dns.addresses_of(tree, server) for server in tree["ntp"]["servers"]]
    if not found:
        return ()
    known = tuple(address for addresses in found for address in addresses)
    peers = known if all(found) else ()
    return (Flow("ntp", "out", "udp", 123, peers=peers, user="_chrony"),)


FEATURE = Feature(
    name="ntp",
    label="Time servers",
    schema=values.group(
        "Time servers",
        "Where the clock is taken from (NTP).",
        servers=values.several(
            values.SERVER_KIND,
            "NTP servers",
            "Addresses or names. V-250999 asks for at least two. By address, the firewall lets NTP go to these only.",
            least=1,
            most=SERVERS,
            required=True,
        ),
    ),
    render=render,
    flows=flows,
    checks=(Check(("chronyd", "-p", "-f", f"{{{CONFIGURATION}}}"), needs=(CONFIGURATION,)),),
    units=(Unit("chrony.service", "restart", (CONFIGURATION,)),),
)
