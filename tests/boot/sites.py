"""The lab's sites for a machine of QEMU's: what its user-data may hold, and what it is told once it runs."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from appliance.config import site
from images.lab import secrets
from images.lab.describe import SNMP_USER
from images.paths import REPO, Layout
from tests.boot.network import CARDS

STIG = "stig.yml"
# Groups with secrets in clear: user-data takes none (docs/images.md).
LATER = ("certificates", "directory", "snmp")
_NAMES = {card.zone.link.guest_interface: card.name for card in CARDS}


def place(folder: Path) -> Layout:
    """A folder with the sites, and beside them a build folder with secrets of its own, as a checkout has them."""
    shutil.copytree(REPO / "sites", folder / "sites")
    layout = Layout(folder / "build")
    secrets.ensure_all(layout)
    return layout


def file(layout: Layout, name: str) -> Path:
    """One of the sites' files in that folder."""
    return layout.build.parent / "sites" / name


def tree(layout: Layout, name: str = STIG) -> dict[str, Any]:
    """The site, with the machine's own names for the cards."""
    found = site.load(file(layout, name))
    found["interfaces"] = {_NAMES[one]: settings for one, settings in found["interfaces"].items()}
    return found


def user_data(whole: dict[str, Any]) -> str:
    """What of it a platform may know."""
    return yaml.safe_dump({group: settings for group, settings in whole.items() if group not in LATER})


def later(whole: dict[str, Any]) -> dict[str, Any]:
    """What it is told over REST."""
    return {group: whole[group] for group in LATER if group in whole}


def snmp(layout: Layout) -> Path:
    """Who may ask the site's machine by SNMP, for a scan."""
    found = layout.secrets / "snmp.yml"
    user = {"user": SNMP_USER, "auth": "SHA-256", "privacy": "AES-256"}
    found.write_text(yaml.safe_dump({**user, "auth_file": "snmp.auth", "privacy_file": "snmp.privacy"}))
    return found
