"""What the facts service and the appliance's scan of itself may do, from outside."""

import configparser
from pathlib import Path

import yaml

from appliance.configd import stig_facts, stig_results
from appliance.configd.facts import stig
from appliance.configd.gate import SCANNER

ROLES = Path(__file__).resolve().parents[3] / "roles"
FILES = ROLES / "sentry/files"


def unit(name: str) -> configparser.ConfigParser:
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read(FILES / name)
    return read


def test_root_alone_reaches_the_facts_service() -> None:
    """By the socket's owner and mode, and beside that by whom the service answers."""
    socket = unit("sentry-facts.socket")["Socket"]
    assert socket["ListenStream"] == stig_facts.SOCKET
    assert (socket["SocketUser"], socket["SocketMode"], socket["DirectoryMode"]) == ("root", "0600", "0700")


def test_the_facts_service_writes_nothing_and_sees_everything() -> None:
    """What hides a part of the machine from it would have it call that part clean."""
    service = unit("sentry-facts.service")["Service"]
    assert (service["ProtectSystem"], service["ReadWritePaths"]) == ("strict", "-/run/chrony")
    assert service["NoNewPrivileges"] == "yes"
    assert (service["ProtectHome"], service["ReadOnlyPaths"]) == ("read-only", "/run")  # seen, and not written
    hiding = {"PrivateTmp", "ProtectKernelModules", "InaccessiblePaths", "ProtectProc"}
    assert not hiding & set(service)
    forbidden = {"CAP_SYS_ADMIN", "CAP_CHOWN", "CAP_FOWNER", "CAP_SYS_MODULE", "CAP_KILL", "CAP_NET_RAW"}
    assert not forbidden & set(service["CapabilityBoundingSet"].split())


def test_the_scanner_is_never_root_and_reaches_configd_alone() -> None:
    service = unit("sentry-stig.service")["Service"]
    assert (service["User"], service["Group"], service["CapabilityBoundingSet"]) == (SCANNER, SCANNER, "")
    assert service["SupplementaryGroups"] == "sentry-mgmt"
    assert service["ReadWritePaths"] == str(stig_results.FOLDER)
    assert service["ExecStart"].endswith(f"sentry-stig self --out {stig_results.FOLDER}")
    hidden = service["InaccessiblePaths"]
    assert all(f"-/run/sentry-{name}" in hidden for name in ("agent", "gateway", "uem", "facts"))


def test_its_account_is_in_no_group_of_people_and_its_folder_is_its_own() -> None:
    """The unit gives it configd's socket; a member of the group would be an administrator for sshd and PAM."""
    lines = (ROLES / "base/templates/sysusers.conf.j2").read_text().splitlines()
    assert [line.split()[:2] for line in lines if SCANNER in line] == [["u", SCANNER]]
    rows = [line.split() for line in (ROLES / "base/files/tmpfiles.conf").read_text().splitlines() if line[:2] == "d "]
    modes = {row[1]: row[2:5] for row in rows}
    assert modes[str(stig_results.FOLDER)] == ["0700", SCANNER, SCANNER]


def test_what_starts_them_is_started_and_names_them() -> None:
    variables = yaml.safe_load((ROLES / "sentry/vars/main.yml").read_text())
    assert variables["sentry_triggers"] == ["sentry-facts.socket", stig.TIMER]
    launchers = {one["path"] for one in variables["sentry_launchers"]}
    for name in ("sentry-facts.service", stig_results.UNIT):
        assert unit(name)["Service"]["ExecStart"].split()[0] in launchers
    paths = {one["path"].rsplit("/", 1)[-1] for one in variables["sentry_unit_files"]}
    assert {"sentry-facts.socket", "sentry-facts.service", "sentry-stig.service", "sentry-stig.timer"} <= paths
