"""The mail server behind the appliance, and what devices need in front of it."""

from collections.abc import Iterator

import pytest

from images import guest as guests
from images.guest import Guest
from images.lab.zones import GUEST
from images.paths import Layout
from tests.e2e.device import Audit, Registry
from tests.e2e.mailserver import server
from tests.e2e.mailserver.server import ALICE, MailServer
from tests.lab import Lab


@pytest.fixture(scope="session")
def mail_server(lab: Lab, layout: Layout) -> Iterator[MailServer]:
    """SOGo with ActiveSync at mail.lab.test; one that runs already is used and left running."""
    running, booted = server.ensure(layout)
    yield running
    if booted:
        guests.stop(running.guest, layout)


@pytest.fixture(scope="session")
def machine(lab: Lab, layout: Layout) -> Guest:
    """The appliance's guest from the host's side: quicker to look into than SSH, and there while sshd is not."""
    guest = guests.find(GUEST, layout)
    assert guest is not None
    return guest


@pytest.fixture
def registry(lab: Lab) -> Registry:
    """The embedded UEM."""
    return Registry(lab)


@pytest.fixture
def audit(lab: Lab) -> Audit:
    """The audit trail."""
    return Audit(lab)


@pytest.fixture
def alices_device(registry: Registry, mail_server: MailServer) -> Iterator[str]:
    """The id of a device registered to alice."""
    with registry.registered(ALICE.user) as device_id:
        yield device_id


@pytest.fixture
def trusted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client library trusts the appliance's CA, as a phone with the CA installed would."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(lab.ca_file))
