"""Name resolution: /etc/resolv.conf and the flows to the servers. Static hosts go into /etc/hosts (`hostname` renders it)."""

from collections.abc import Iterable, Mapping

from appliance.features import values
from appliance.features.base import Feature, File, Flow, Problem, Tree
from appliance.features.template import filled

SERVERS = 3  # the resolver of the C library reads no more (MAXNS, resolv.conf(5))
SEARCH_DOMAINS = 6  # each costs a query for every short name; more than this is a mistake
STATIC_HOSTS = 256
LOCAL_NAMES = frozenset(  # what /etc/hosts and the resolver themselves say
    {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "ip6-allnodes", "ip6-allrouters"}
)


def addresses_of(tree: Tree, host: str) -> tuple[str, ...]:
    """The addresses `host` is known to have without asking anybody: itself, or its static entry; else none."""
    if values.address_of(host) is not None:
        return (host,)
    wanted = host.lower()  # names are the same in either case (RFC 4343)
    return tuple(address for name, address in tree["dns"]["static_hosts"].items() if name.lower() == wanted)[:1]


def verify(tree: Tree) -> Iterable[Problem]:
    """The appliance's own name is no static host: it would point somewhere else than the interfaces do."""
    own = {tree["hostname"], tree["hostname"].partition(".")[0], *LOCAL_NAMES}
    seen: set[str] = set()
    for host in sorted(tree["dns"]["static_hosts"]):
        if host.lower() in own:
            yield Problem(f"dns.static_hosts.{host}", "the appliance's own name", "names of other hosts")
        if host.lower() in seen:
            yield Problem(f"dns.static_hosts.{host}", "the same name a second time", "every name once, in either case")
        seen.add(host.lower())


def render(tree: Tree) -> Mapping[str, File]:
    """/etc/resolv.conf as a plain file; systemd-resolved is not used."""
    return {"/etc/resolv.conf": File(filled("resolv.conf.j2", dns=tree["dns"]))}


def flows(tree: Tree) -> tuple[Flow, ...]:
    """Queries to the configured servers and to nobody else; TCP for answers that do not fit a datagram (RFC 7766)."""
    servers = tuple(tree["dns"]["servers"])
    if not servers:
        return ()
    return (
        Flow("dns", "out", "udp", 53, peers=servers),
        Flow("dns", "out", "tcp", 53, peers=servers),
    )


FEATURE = Feature(
    name="dns",
    label="Name resolution",
    default={},
    schema=values.group(
        "Name resolution",
        "Which DNS servers are asked, and names that are known without asking.",
        servers=values.several(
            values.SERVER_ADDRESS_KIND, "DNS servers", "Asked in this order.", most=SERVERS, default=[]
        ),
        search=values.several(
            values.NAME_KIND,
            "Search domains",
            "Tried behind short names, in this order.",
            most=SEARCH_DOMAINS,
            default=[],
        ),
        static_hosts=values.named(
            values.NAME_KIND,
            values.SERVER_ADDRESS_KIND,
            "Static hosts",
            "Name and address; they come before DNS. The firewall limits flows to a named host to its static address.",
            most=STATIC_HOSTS,
            default={},
        ),
    ),
    verify=verify,
    render=render,
    flows=flows,
)
