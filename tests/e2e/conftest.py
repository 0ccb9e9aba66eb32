"""The mail server behind the appliance, and devices in front of it."""

from collections.abc import Iterator

import pytest

from images import guest as guests
from images.paths import Layout
from tests.e2e.mailserver import server
from tests.e2e.mailserver.server import MailServer
from tests.lab import Lab


@pytest.fixture(scope="session")
def mail_server(lab: Lab, layout: Layout) -> Iterator[MailServer]:
    """SOGo with ActiveSync at mail.lab.test; one that runs already is used and left running."""
    running, booted = server.ensure(layout)
    yield running
    if booted:
        guests.stop(running.guest, layout)
