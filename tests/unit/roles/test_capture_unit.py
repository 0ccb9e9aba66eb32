"""What a capture of packets may do, from outside."""

import configparser
from pathlib import Path, PurePosixPath

from appliance.capture import request
from appliance.configd import capturing
from appliance.support import shelf

ROLES = Path(__file__).resolve().parents[3] / "roles"
UNIT = ROLES / "sentry/files/sentry-capture.service"


def test_it_reads_packets_and_nothing_else_and_nobody_starts_it_but_configd() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    assert UNIT.name == request.UNIT
    assert (service["User"], service["Group"]) == ("sentry-capture", capturing.GROUP)
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == "CAP_NET_RAW"
    assert unit["Unit"]["ConditionPathExists"] == request.PLACE
    assert not unit.has_section("Install")
    assert service["NoNewPrivileges"] == "yes"
    assert str(PurePosixPath(request.RESULT).parent) == f"/run/{service['RuntimeDirectory']}"
    assert service["RuntimeDirectoryPreserve"] == "yes"
    assert "ReadWritePaths" not in service
    assert int(service["RuntimeMaxSec"]) > request.SECONDS_HIGH
    assert (
        "sentry-capture.service"
        not in (ROLES / "sentry/vars/main.yml")
        .read_text()
        .partition("sentry_services:")[2]
        .partition("sentry_unit_files:")[0]
    )


def test_its_account_is_in_no_group_and_cannot_change_what_it_is_asked_for() -> None:
    lines = (ROLES / "base/templates/sysusers.conf.j2").read_text().splitlines()
    assert [line.split()[:2] for line in lines if capturing.GROUP in line] == [["u", capturing.GROUP]]
    rows = [line.split() for line in (ROLES / "base/files/tmpfiles.conf").read_text().splitlines() if line[:2] == "d "]
    modes = {row[1]: row[2:5] for row in rows}
    assert modes[str(PurePosixPath(request.PLACE).parent)] == ["0750", "root", capturing.GROUP]
    assert modes["/var/lib/sentry/support"] == ["0700", "root", "root"]


def test_a_file_that_is_full_finds_room_and_tcpdump_is_installed() -> None:
    assert request.FILE_BYTES <= shelf.FILE_BYTES
    assert "  - tcpdump\n" in (ROLES / "base/vars/main.yml").read_text()
