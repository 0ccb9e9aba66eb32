"""What the service that sends backups may do, from outside."""

import configparser
from pathlib import Path

from appliance.features import offsite
from appliance.offsite import keep
from appliance.offsite.api import SOCKET
from appliance.offsite.settings import SETTINGS_PATH

ROLES = Path(__file__).resolve().parents[3] / "roles"
UNIT = ROLES / "sentry/files/sentry-offsite.service"


def test_it_is_never_root_and_reaches_nobody_here_and_no_backup_by_itself() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    assert (service["User"], service["Group"]) == (offsite.USER, offsite.USER)
    assert service["CapabilityBoundingSet"] == ""
    assert "SupplementaryGroups" not in service
    assert "AmbientCapabilities" not in service
    assert service["ReadWritePaths"] == str(keep.FOLDER)
    assert SOCKET.startswith(f"/run/{service['RuntimeDirectory']}/")
    assert unit["Unit"]["ConditionPathExists"] == str(SETTINGS_PATH)
    hidden = [line.partition("=")[2] for line in UNIT.read_text().splitlines() if line.startswith("InaccessiblePaths")]
    assert all(f"-/run/sentry-{name}" in hidden[0] for name in ("configd", "agent", "gateway", "uem", "alerts", "acme"))
    assert all(f"-/var/lib/sentry/{name}" in hidden[1] for name in ("config", "secrets", "devices", "backups"))


def test_its_account_is_in_no_group_and_its_folder_is_its_own() -> None:
    lines = (ROLES / "base/templates/sysusers.conf.j2").read_text().splitlines()
    assert [line.split()[:2] for line in lines if offsite.USER in line] == [["u", offsite.USER]]
    rows = [line.split() for line in (ROLES / "base/files/tmpfiles.conf").read_text().splitlines() if line[:2] == "d "]
    modes = {row[1]: row[2:5] for row in rows}
    assert modes[str(keep.FOLDER)] == ["0700", offsite.USER, offsite.USER]
    assert offsite.UNIT_NAME in (ROLES / "sentry/vars/main.yml").read_text()
