"""What the service that asks the directory may do, from outside."""

import configparser
from pathlib import Path

from appliance.directory.api import SOCKET
from appliance.directory.settings import SETTINGS_PATH
from appliance.features import directory

ROLES = Path(__file__).resolve().parents[3] / "roles"
UNIT = ROLES / "sentry/files/sentry-directory.service"


def test_it_is_never_root_reaches_nobody_here_and_writes_nothing() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    assert (service["User"], service["Group"]) == (directory.USER, directory.USER)
    assert service["CapabilityBoundingSet"] == ""
    assert service["ProtectSystem"] == "strict"
    assert not {"SupplementaryGroups", "AmbientCapabilities", "ReadWritePaths", "StateDirectory"} & set(service)
    assert SOCKET.startswith(f"/run/{service['RuntimeDirectory']}/")
    assert service["RuntimeDirectoryMode"] == "0700"
    assert unit["Unit"]["ConditionPathExists"] == str(SETTINGS_PATH)
    hidden = [line.partition("=")[2] for line in UNIT.read_text().splitlines() if line.startswith("InaccessiblePaths")]
    others = ("configd", "agent", "gateway", "uem", "alerts", "acme", "offsite")
    assert all(f"-/run/sentry-{name}" in hidden[0] for name in others)
    assert all(f"-/var/lib/sentry/{name}" in hidden[1] for name in ("config", "secrets", "devices", "backups"))


def test_its_account_is_in_no_group_and_its_library_is_installed() -> None:
    lines = (ROLES / "base/templates/sysusers.conf.j2").read_text().splitlines()
    assert [line.split()[:2] for line in lines if directory.USER in line] == [["u", directory.USER]]
    assert directory.UNIT_NAME in (ROLES / "sentry/vars/main.yml").read_text()
    packages = (ROLES / "base/vars/main.yml").read_text().splitlines()
    assert "  - python3-ldap3" in packages
