"""What the portal and the TLS proxy before it may do, from outside."""

import configparser
from pathlib import Path

from appliance.tls_proxy.settings import PORTAL_SOCKET

ROLES = Path(__file__).resolve().parents[3] / "roles"


def service(name: str) -> configparser.SectionProxy:
    """The section of the unit `name`."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROLES / "sentry/files" / name)
    return unit["Service"]


def test_the_portal_has_no_network_and_the_proxy_alone_its_socket() -> None:
    portal, proxy = service("sentry-portal.service"), service("sentry-tls-proxy.service")
    assert (portal["RestrictAddressFamilies"], portal["PrivateNetwork"]) == ("AF_UNIX", "yes")
    assert PORTAL_SOCKET.startswith(f"/run/{portal['RuntimeDirectory']}/")
    assert portal["RuntimeDirectoryMode"] == "0750"
    assert portal["Group"] in proxy["SupplementaryGroups"].split()
    assert proxy["Group"] not in portal["SupplementaryGroups"].split()


def test_the_proxy_is_never_root_and_has_memory_that_is_written_or_executed_never_both() -> None:
    proxy = service("sentry-tls-proxy.service")
    assert (proxy["User"], proxy["CapabilityBoundingSet"], proxy["MemoryDenyWriteExecute"]) == (
        "sentry-tls-proxy",
        "",
        "yes",
    )
    hidden = proxy["InaccessiblePaths"]
    assert all(f"-/run/sentry-{name}" in hidden for name in ("agent", "gateway", "uem", "alerts"))


def test_its_account_is_in_no_group_of_people() -> None:
    """The unit gives it configd's socket; a member of the group would be an administrator for PAM."""
    lines = (ROLES / "base/templates/sysusers.conf.j2").read_text().splitlines()
    assert [line.split()[:2] for line in lines if "sentry-tls-proxy" in line] == [["u", "sentry-tls-proxy"]]
