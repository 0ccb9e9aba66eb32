"""Every request leaves its two lines, and no line leaves a secret."""

import base64

import pytest

from images.guest import Guest
from tests.e2e.device import Audit, Phone, eventually, new_id
from tests.e2e.mailserver.server import ALICE
from tests.lab import Lab

pytestmark = pytest.mark.e2e


def test_a_request_and_its_outcome_are_joined_by_an_id(lab: Lab, alices_device: str, audit: Audit) -> None:
    """Who, what, from where, what came of it."""
    Phone(lab, ALICE, alices_device).folder_sync()
    outcome = audit.wait_for(event="outcome", device_id=alices_device, command="FolderSync", action="allow")
    request = audit.wait_for(event="request", id=outcome["id"])
    assert request["principal"] == outcome["principal"] == "alice"
    assert request["source"] == "10.98.1.1"
    assert (outcome["action"], outcome["status"]) == ("allow", 200)
    assert outcome["bytes_out"] > 0


def test_a_refusal_says_why(lab: Lab, audit: Audit) -> None:
    """The outcome of a blocked device names the reason."""
    device_id = new_id()
    Phone(lab, ALICE, device_id).folder_sync()
    outcome = audit.wait_for(event="outcome", device_id=device_id, command="FolderSync")
    assert (outcome["action"], outcome["reasons"]) == ("block", ["unregistered"])


def test_every_request_has_exactly_one_outcome(lab: Lab, alices_device: str, audit: Audit) -> None:
    """Of the device's three requests none is missing and none is told twice."""
    phone = Phone(lab, ALICE, alices_device)
    assert phone.provision() is None
    for _ in range(3):
        phone.folder_sync()
    of_these = {"device_id": alices_device, "command": "FolderSync"}
    eventually(lambda: len(audit.lines(event="outcome", **of_these)) >= 3, "three outcomes", 15)
    requests = [line["id"] for line in audit.lines(event="request", **of_these)]
    outcomes = [line["id"] for line in audit.lines(event="outcome", **of_these)]
    assert len(requests) == len(set(requests)) == 3
    assert sorted(outcomes) == sorted(requests)


def test_no_password_is_in_any_log(lab: Lab, alices_device: str, audit: Audit, machine: Guest) -> None:
    """Neither as it is nor as the Basic credentials that carry it, neither in the trail nor in the journal."""
    Phone(lab, ALICE, alices_device).folder_sync()
    audit.wait_for(event="outcome", device_id=alices_device)
    basic = base64.b64encode(f"{ALICE.user}:{ALICE.password}".encode()).decode()
    trail = audit.text()
    journal = machine.execute(["journalctl", "--no-pager", "--output=cat"]).stdout
    assert alices_device in trail
    assert journal
    for secret in (ALICE.password, basic, lab.admin.password, lab.enable_secret):
        assert secret not in trail
        assert secret not in journal
