"""A service of the running appliance that hangs: systemd ends it, it is back, and what it did is kept and told."""

import json
import time
from typing import Any

import pytest

from tests.lab import Lab

pytestmark = pytest.mark.appliance

WATCHDOG_SECONDS = 30  # of the units
PATIENCE_SECONDS = 2 * WATCHDOG_SECONDS + 60.0  # its time, a moment to end, and configd's looks


def rows(lab: Lab) -> list[Any]:
    """What is kept."""
    found: list[Any] = json.loads(lab.cli("show watchdog | json").stdout)["rows"]
    return found


@pytest.mark.parametrize("unit", ["sentry-portal.service"])
def test_a_hung_service_leaves_its_stacks(lab: Lab, unit: str) -> None:
    """Stopped by SIGSTOP, it shows no sign of life; what SIGABRT makes it write is written once SIGCONT lets it (systemd sends
    that too when it ends a unit)."""
    before = rows(lab)
    process = lab.root("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip()
    lab.root("kill", "-STOP", process)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(rows(lab)) == len(before) and time.monotonic() < deadline:
        time.sleep(2)
    new = rows(lab)[0]
    assert new["service"] == unit
    text = lab.root("cat", f"/var/lib/sentry/hung/{new['kept for a support bundle']}").stdout
    assert "Fatal Python error: Aborted" in text
    assert "most recent call first" in text
    assert lab.root("systemctl", "is-active", unit).stdout.strip() == "active"
    lines = "\n".join(json.loads(lab.cli("enable", lab.enable_secret, "show log | json").stdout)["lines"])
    assert '"event":"service.hung"' in lines
