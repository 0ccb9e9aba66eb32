"""The lab's three zones as a table: names, interfaces, addresses, and which ports must answer there."""

from dataclasses import dataclass

from images.network import Link

GUEST = "sentry-lab"
MAIL_SERVER = "mail.lab.test"
MAIL_ADDRESS = "10.98.3.10"
LOG_SERVER = "siem.lab.test"
DIRECTORY_SERVER = "directory.lab.test"
GATEWAY = "gateway.lab.test"


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone: its veth pair, the TCP ports that answer there when the appliance is as it should be, the UDP ports that may."""

    name: str
    link: Link
    ports: frozenset[int]
    udp: frozenset[int] = frozenset()

    @property
    def address(self) -> str:
        """The appliance's address in this zone."""
        return self.link.guest_address


ZONES = (
    Zone("device", Link("lab-device", "device0", "10.98.1.1", "10.98.1.2"), frozenset({443})),
    # 443 too: the command that drives the lab stands in the management zone and shall see all three ports.
    # 161 for SNMP managers, of which the host's end is one.
    Zone(
        "management", Link("lab-mgmt", "mgmt0", "10.98.2.1", "10.98.2.2"), frozenset({22, 443, 8443}), frozenset({161})
    ),
    Zone("backend", Link("lab-backend", "backend0", "10.98.3.1", "10.98.3.2", bridge="lab-backends"), frozenset()),
)
DEVICE, MANAGEMENT, BACKEND = ZONES
