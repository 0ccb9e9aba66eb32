"""The network of a machine that has no configuration yet and must ask a cloud for it: an address by DHCP, and one flow out of
it, which root alone may use. Before and afterwards everything is closed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance import process
from appliance.features import firewall
from appliance.features.base import Flow
from appliance.first_boot.metadata import AZURE_ADDRESS, METADATA_ADDRESS, PORT

CLOSED = "/usr/lib/sentry/closed.nft"
NETWORKS = Path("/run/systemd/network")
NAME = "99-sentry-first-boot.network"  # the configuration's own files come before it
NETWORK = """\
[Match]
Type=ether

[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
LLDP=no

[DHCPv4]
UseDNS=no
UseNTP=no
UseHostname=no
UseDomains=no
UseRoutes=yes
"""

FLOWS = tuple(
    Flow("first boot", "out", "tcp", PORT, peers=(address,), user="root")
    for address in (METADATA_ADDRESS, AZURE_ADDRESS)
)

_RULES = """\
flush ruleset

table inet sentry_first_boot {{
	chain input {{
		type filter hook input priority filter; policy drop;
		iifname "lo" accept
		ct state established,related accept
		udp sport 67 udp dport 68 accept
	}}

	chain forward {{
		type filter hook forward priority filter; policy drop;
	}}

	chain output {{
		type filter hook output priority filter; policy drop;
		oifname "lo" accept
		ct state established,related accept
		udp sport 68 udp dport 67 accept
{outward}
	}}
}}
"""

Run = Callable[..., str]


def ruleset() -> str:
    """What nft(8) loads meanwhile: DHCP, and the flows."""
    rules = [rule for flow in FLOWS for rule in firewall.rules(flow)]
    return _RULES.format(outward="\n".join(f'\t\t{rule.match} accept comment "{rule.comment}"' for rule in rules))


@contextmanager
def opened(run: Run = process.run, folder: Path = NETWORKS) -> Iterator[None]:
    """Inside, the metadata service can be asked. Raises `CommandError`."""
    place = folder / NAME
    try:
        run(["nft", "-f", "-"], stdin=ruleset())
        folder.mkdir(parents=True, exist_ok=True)
        place.write_text(NETWORK, encoding="ascii")
        place.chmod(0o644)  # networkd reads it as an account of its own
        run(["networkctl", "reload"])
        yield
    finally:
        place.unlink(missing_ok=True)
        run(["nft", "-f", CLOSED])
        run(["networkctl", "reload"])
