"""What keeps rsyslogd and snmpd small."""

import configparser
import re
from pathlib import Path

import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
LOG = "sentry-log"


def unit(name: str) -> configparser.SectionProxy:
    """The [Service] of a drop-in; a setting that is given twice has its last value."""
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read(ROLES / "sentry/files" / name)
    return read["Service"]


def test_rsyslogd_keeps_nothing_of_root() -> None:
    """It may change who it is and read the kernel's log, and then it is another."""
    assert unit("rsyslog.dropin")["CapabilityBoundingSet"].split() == ["CAP_SETGID", "CAP_SETUID", "CAP_SYSLOG"]
    configuration = (ROLES / "sentry/files/rsyslog.conf").read_text()
    assert f'privdrop.user.name="{LOG}"' in configuration
    assert f'fileOwner="{LOG}"' in configuration


def test_every_file_that_rsyslogd_writes_is_there_for_it_and_turns_into_its_own() -> None:
    """It can make none in /var/log, so tmpfiles makes them and logrotate makes the next."""
    configuration = (ROLES / "sentry/files/rsyslog.conf").read_text()
    written = set(re.findall(r'type="omfile" file="([^"]+)"', configuration))
    folders = (ROLES / "base/files/tmpfiles.conf").read_text()
    rows = {fields[1]: fields[2:5] for line in folders.splitlines() if (fields := line.split()) and fields[0] == "f"}
    assert rows == {path: ["0640", LOG, "adm"] for path in written}
    rotated = "".join((ROLES / "sentry/files" / name).read_text() for name in ("logrotate", "logrotate-rsyslog"))
    assert all(path in rotated for path in written)
    assert set(re.findall(r"create (.*)", rotated)) == {f"0640 {LOG} adm"}


def test_snmpd_is_never_root_and_runs_only_where_it_is_wanted() -> None:
    service = unit("snmpd.dropin")
    assert (service["User"], service["CapabilityBoundingSet"]) == ("Debian-snmp", "CAP_NET_BIND_SERVICE")
    assert "ConditionPathExists=/etc/snmp/sentry/snmpd.conf" in (ROLES / "sentry/files/snmpd.dropin").read_text()
    packages = yaml.safe_load((ROLES / "base/vars/main.yml").read_text())["base_packages"]
    assert "snmpd" in packages
