"""What the ACME service may do, from outside."""

import configparser
from pathlib import Path

from appliance.acme import keep
from appliance.acme.api import CHAIN_CHARACTERS, LINE_BYTES, SOCKET
from appliance.acme.orders import ORDERS
from appliance.acme.settings import SETTINGS_PATH
from appliance.features import acme

ROLES = Path(__file__).resolve().parents[3] / "roles"
UNIT = ROLES / "sentry/files/sentry-acme.service"


def test_it_is_never_root_has_port_80_and_reaches_nobody_here() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    assert (service["User"], service["Group"]) == (acme.USER, acme.USER)
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
    assert "SupplementaryGroups" not in service
    assert service["ReadWritePaths"] == str(keep.FOLDER)
    assert SOCKET.startswith(f"/run/{service['RuntimeDirectory']}/")
    assert unit["Unit"]["ConditionPathExists"] == str(SETTINGS_PATH)
    hidden = [line.partition("=")[2] for line in UNIT.read_text().splitlines() if line.startswith("InaccessiblePaths")]
    assert all(f"-/run/sentry-{name}" in hidden[0] for name in ("configd", "agent", "gateway", "uem", "alerts"))
    assert all(f"-/var/lib/sentry/{name}" in hidden[1] for name in ("config", "secrets", "devices"))


def test_its_account_is_in_no_group() -> None:
    lines = (ROLES / "base/templates/sysusers.conf.j2").read_text().splitlines()
    assert [line.split()[:2] for line in lines if acme.USER in line] == [["u", acme.USER]]


def test_its_folder_is_its_own_and_what_it_keeps_fits() -> None:
    rows = [line.split() for line in (ROLES / "base/files/tmpfiles.conf").read_text().splitlines() if line[:2] == "d "]
    modes = {row[1]: row[2:5] for row in rows}
    assert modes[str(keep.FOLDER)] == ["0700", acme.USER, acme.USER]
    assert ORDERS * (CHAIN_CHARACTERS + LINE_BYTES) < keep.BYTES
