"""What bounds the agent from outside."""

import configparser
from pathlib import Path

from sentry_runtime.uem.adapters.epmm import EAS_BYTES

UNIT = Path(__file__).resolve().parents[3] / "roles/sentry/files/sentry-agent.service"
FOLDERS = Path(__file__).resolve().parents[3] / "roles/base/files/tmpfiles.conf"


def test_a_vendors_list_cannot_take_the_machines_memory() -> None:
    """Ten times the largest answer: what is made of it has room, and no swap is filled instead."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(UNIT)
    most = unit["Service"]["MemoryMax"]
    assert most.endswith("G")
    assert int(most[:-1]) * 2**30 >= 10 * EAS_BYTES
    assert unit["Service"]["MemorySwapMax"] == "0"


def test_only_the_agent_puts_files_beside_the_device_list() -> None:
    """The gateway reads there; a folder that its group may write to would let it plant what the agent reads at its start."""
    rows = [line.split() for line in FOLDERS.read_text().splitlines() if line.startswith("d ")]
    modes = {row[1]: row[2:5] for row in rows}
    assert modes["/var/lib/sentry/devices"] == ["2750", "sentry-agent", "sentry-devices"]
