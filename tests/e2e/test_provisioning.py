"""The site's policy and the UEM's, from the configuration and the command line to a device, in front of a mail server that has
none."""

import pytest

from sentry_runtime.eas.policy import Policy
from tests.e2e.device import FOLDER_SYNC, PROVISION_FIRST, Audit, Phone, client, eventually, status_of
from tests.e2e.mailserver.server import ALICE, MailServer
from tests.lab import Lab

pytestmark = pytest.mark.e2e

# What sites/lab.yml says.
SITES = Policy(
    device_password_enabled=True,
    allow_simple_device_password=True,
    min_device_password_length=4,
    max_inactivity_time_device_lock=900,
)
STRICT = Policy(
    device_password_enabled=True,
    alphanumeric_device_password_required=True,
    min_device_password_length=8,
    max_device_password_failed_attempts=8,
    require_device_encryption=True,
)


def told(phone: Phone) -> tuple[int, str | None]:
    """What a FolderSync with the key that the phone has is answered."""
    answer = phone.ask("FolderSync", FOLDER_SYNC)
    return answer.status_code, status_of(answer.content, "FolderHierarchy.Status") if answer.content else None


def test_a_device_takes_the_sites_policy_before_its_mail(lab: Lab, alices_device: str) -> None:
    """449 with 142 (DeviceNotProvisioned) until it has; then the mail server's own answer."""
    phone = Phone(lab, ALICE, alices_device)
    assert told(phone) == (PROVISION_FIRST, "142")
    assert phone.provision() is None
    assert phone.policy == SITES
    assert told(phone) == (200, "1")
    phone.key ^= 1
    assert told(phone) == (PROVISION_FIRST, "144")


def test_an_administrator_assigns_a_policy_and_takes_it_back(lab: Lab, alices_device: str) -> None:
    """The very next request is told that the policy has changed (143); the device then has what was assigned."""
    phone, device = Phone(lab, ALICE, alices_device), f"{alices_device} {ALICE.user}"
    assert phone.provision() is None
    for command, policy in ((f"assign-policy {device} strict", STRICT), (f"revert-policy {device}", SITES)):
        assert told(phone) == (200, "1")
        lab.cli("enable", lab.enable_secret, f"device {command}")
        eventually(lambda: told(phone) == (PROVISION_FIRST, "143"), "the policy to be in force", 10)
        assert phone.provision() is None
        assert phone.policy == policy
    assert "strict" in lab.cli("show sentry policies").stdout


def test_what_a_device_says_of_itself_is_shown(lab: Lab, alices_device: str) -> None:
    """With its policy."""
    phone = Phone(lab, ALICE, alices_device, model="Prototype 7")
    assert phone.provision() is None

    def shown() -> bool:
        said = lab.cli(f"show sentry device {alices_device}").stdout
        return "Prototype 7" in said and "the gateway's own" in said

    eventually(shown, "the device's model to be shown", 15)


@pytest.mark.usefixtures("trusted")
def test_a_client_that_goes_nowhere_without_a_policy_reads_its_folders(
    lab: Lab, alices_device: str, mail_server: MailServer, audit: Audit
) -> None:
    """The mail server has no policies, which stops such clients; the gateway's own answer lets them go on."""
    with client(lab, ALICE, alices_device) as device:
        assert device.list_folders()
    outcome = audit.wait_for(event="outcome", device_id=alices_device, command="Provision", reasons=["policy_applied"])
    assert (outcome["action"], outcome["status"]) == ("provision", 200)
    seen = [line for line in mail_server.requests_seen() if alices_device in line]
    assert (
        len([line for line in seen if "Cmd=Provision" in line]) == 1
    )  # whether it has a policy; nothing to acknowledge
