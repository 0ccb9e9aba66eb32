"""What systemd hears."""

import socket
from pathlib import Path

import pytest

from sentry_runtime.systemd import Notifier


@pytest.mark.parametrize("abstract", [False, True])
def test_states_arrive_at_the_socket_that_systemd_names(tmp_path: Path, abstract: bool) -> None:  # noqa: FBT001
    """A path, or a name in the abstract space (as in containers)."""
    name = f"@sentry-test-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if abstract else name)
        Notifier({"NOTIFY_SOCKET": name}).send("READY=1")
        systemd.settimeout(5)
        assert systemd.recv(100) == b"READY=1"


def test_without_systemd_nothing_is_sent_and_nothing_fails(tmp_path: Path) -> None:
    """Started by hand, or systemd's socket has gone."""
    Notifier({}).send("READY=1")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).send("READY=1")


@pytest.mark.parametrize(("microseconds", "seconds"), [("30000000", 30.0), ("", None), ("soon", None)])
def test_the_watchdogs_time_is_in_seconds(microseconds: str, seconds: float | None) -> None:
    """Or None where systemd wants no sign of life."""
    assert Notifier({"WATCHDOG_USEC": microseconds}).watchdog_seconds == seconds
