"""The journal is closed to everybody else at each start, whatever systemd's own files say of the same folders."""

import pytest

from tests.lab import Lab

pytestmark = pytest.mark.appliance

FOLDERS = "/run/log/journal", "/var/log/journal"


def test_it_is_closed_again_when_all_folders_are_made_as_at_a_start(lab: Lab) -> None:
    """systemd-tmpfiles reads every file there, as systemd-tmpfiles-setup.service does (SENTRY-OS-0628)."""
    lab.root("chmod", "2755", "/var/log/journal")
    lab.root("systemd-tmpfiles", "--create", "--exclude-prefix=/dev")
    found = lab.root("find", *FOLDERS, "-type", "d", "-printf", "%m %u:%g %p\n", check=False).stdout.splitlines()
    assert len(found) >= 2
    assert [row for row in found if not row.startswith("2750 root:systemd-journal ")] == []
