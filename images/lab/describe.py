"""What the lab leaves for others: `build/appliance.json`, Ansible's inventory, and the reading of the former."""

import json
from typing import Any

import yaml

from images.lab import devices
from images.lab.machine import BUILDER
from images.lab.site import LabSite
from images.lab.zones import GUEST, MANAGEMENT, ZONES
from images.paths import Layout, write_file, write_json

ADMIN = "admin"
PORTAL_PORT = 8443
SSH_PORT = 22
SNMP_USER = "monitor"
UEM_URL = "https://127.0.0.1:9443"  # the guest's own loopback: nobody outside reaches the embedded UEM


def inventory(layout: Layout) -> None:
    """Write the inventory: one host, reached as the automation account, its host keys checked."""
    host = {
        "ansible_host": MANAGEMENT.address,
        "ansible_user": BUILDER,
        "ansible_ssh_private_key_file": str(layout.secrets / BUILDER),
        "ansible_ssh_common_args": (
            f"-o UserKnownHostsFile={layout.known_hosts} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
        ),
    }
    write_file(layout.inventory, "---\n" + yaml.safe_dump({"all": {"hosts": {"appliance": host}}}))


def appliance(layout: Layout, site: LabSite) -> dict[str, Any]:
    """Write and return the description of the running appliance, provisioned for `site`."""
    described: dict[str, Any] = {
        "name": GUEST,
        "address": MANAGEMENT.address,
        "addresses": {zone.name: zone.address for zone in ZONES},
        "gateway_url": f"https://{MANAGEMENT.address}",
        "portal_url": f"https://{MANAGEMENT.address}:{PORTAL_PORT}",
        "ssh": {"user": ADMIN, "port": SSH_PORT, "key": str(layout.secrets / ADMIN)},
        "admin": {"user": ADMIN, "password_file": str(layout.secrets / "admin.password")},
        "builder": {"user": BUILDER, "key": str(layout.secrets / BUILDER)},
        "snmp": {
            "user": SNMP_USER,
            "auth": "SHA-256",
            "auth_file": str(layout.secrets / "snmp.auth"),
            "privacy": "AES-256",
            "privacy_file": str(layout.secrets / "snmp.privacy"),
        },
        "ca_file": str(layout.ca_file),
        "uem_url": UEM_URL,
        "known_hosts": str(layout.known_hosts),
    }
    if site.answers:
        described["answers"] = str(site.answers)
    if site.stand_ins:
        described["devices"] = str(layout.lab / devices.FILE)
    write_json(layout.appliance, described)
    return described


def read(layout: Layout) -> dict[str, Any]:
    """The description of the running appliance; a `FileNotFoundError` when there is none."""
    described: dict[str, Any] = json.loads(layout.appliance.read_text(encoding="utf-8"))
    return described
