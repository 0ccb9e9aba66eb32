"""How far each of our services could reach, by systemd's own measure (0: nowhere, 10: everywhere), read from what runs."""

import re

import pytest

from tests.lab import Lab

pytestmark = pytest.mark.appliance

MOST = {
    "sentry-gateway.service": 2.0,
    "sentry-agent.service": 2.0,
    "sentry-portal.service": 2.0,
    "sentry-tls-proxy.service": 2.0,
    "sentry-uem.service": 2.0,
    "sentry-alerts.service": 2.0,
    "sentry-acme.service": 2.0,
    "sentry-capture.service": 2.0,
    "sentry-offsite.service": 2.0,
    "sentry-directory.service": 2.0,
    # It writes /etc, keeps accounts, asks PAM and drives other units, as root: what that takes stays open, and nothing else.
    "sentry-configd.service": 4.0,
    # It reads all that root reads, and writes nothing.
    "sentry-facts.service": 4.5,
    "sentry-stig.service": 2.0,
}


@pytest.mark.parametrize("unit", MOST)
def test_a_service_reaches_no_further_than_its_work_asks(lab: Lab, unit: str) -> None:
    shown = lab.root("systemd-analyze", "security", "--no-pager", unit).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)
    assert found is not None, shown
    assert float(found[1]) <= MOST[unit], shown


def test_every_service_of_ours_is_measured(lab: Lab) -> None:
    """A new one comes with its line in the table."""
    listed = lab.root("systemctl", "list-units", "--all", "--plain", "--no-legend", "sentry-*.service").stdout
    units = {line.split()[0] for line in listed.splitlines()}
    once = {
        "sentry-closed.service",
        "sentry-fips.service",
        "sentry-aide-init.service",
    }  # they do one thing at the start and end
    at_times = {"sentry-capture.service"}  # systemd forgets it between two captures
    assert units - once - at_times == set(MOST) - at_times
