"""What the alert service may do, from outside."""

import configparser
from pathlib import Path

from appliance.alerts import keep
from appliance.alerts.api import SOCKET
from appliance.alerts.desk import PAST, WAITING
from appliance.features.snmp_users import ACCOUNT
from appliance.snmp.publishing import PLACE

ROLES = Path(__file__).resolve().parents[3] / "roles"
UNIT = ROLES / "sentry/files/sentry-alerts.service"


def test_it_is_never_root_and_reaches_the_journal_and_configd_alone() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    assert (service["User"], service["CapabilityBoundingSet"]) == ("sentry-alerts", "")
    assert service["SupplementaryGroups"].split() == ["systemd-journal", "sentry-mgmt"]
    assert service["ReadWritePaths"] == f"{keep.FOLDER} -{PLACE.parent}"
    assert SOCKET.startswith(f"/run/{service['RuntimeDirectory']}/")
    hidden = service["InaccessiblePaths"]
    assert all(f"-/run/sentry-{name}" in hidden for name in ("agent", "gateway", "uem"))


def test_its_account_is_in_no_group_of_people() -> None:
    """The unit gives it configd's socket; a member of the group would be an administrator for PAM."""
    lines = (ROLES / "base/templates/sysusers.conf.j2").read_text().splitlines()
    assert [line.split()[:2] for line in lines if "sentry-alerts" in line] == [["u", "sentry-alerts"]]


def test_its_folder_is_its_own_and_what_it_keeps_fits_many_times() -> None:
    rows = [line.split() for line in (ROLES / "base/files/tmpfiles.conf").read_text().splitlines() if line[:2] == "d "]
    modes = {row[1]: row[2:5] for row in rows}
    assert modes[str(keep.FOLDER)] == ["0700", "sentry-alerts", "sentry-alerts"]
    assert modes[str(PLACE.parent)] == ["0750", "sentry-alerts", ACCOUNT]
    assert 2_048 * (2 * WAITING + PAST) < keep.BYTES
