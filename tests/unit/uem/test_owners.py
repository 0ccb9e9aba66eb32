"""Whatever a UEM can send has an owner and a place, the documentation says so, and none of it reaches the management plane."""

import configparser
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from sentry_runtime.devices.record import Wipe
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.eas.policy import Policy
from sentry_runtime.uem import api, cloud_api, enrolment, owners

ROOT = Path(__file__).parents[3]
DATA_PLANE = ("sentry-agent", "sentry-uem", "sentry-gateway")
FROM_SENTRYS = {"Contact", "Information", "WipeReport", "Inventory", "Tunnel", "Enrol", "Renew"}
"""The messages that no UEM sends."""


def test_every_field_that_a_uem_can_send_has_one_owner() -> None:
    """None is without, none has two, and no row is about a field that there is not."""
    there = {f"{kind}.{name}" for kind, names in owners.sent().items() for name in names}
    assert Counter(owners.fields()) == Counter(there)
    assert len(there) >= 90


def test_a_field_without_an_owner_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a test of the test above: a row less, and its fields are missing."""
    monkeypatch.setattr(owners, "ROWS", owners.ROWS[1:])
    there = {f"{kind}.{name}" for kind, names in owners.sent().items() for name in names}
    assert there - set(owners.fields()) == set(
        [f"Decision.{name}" for name in ("state", "reasons", "note", "device_type", "registered", "removed")]
        + [f"Unidentified.{name}" for name in ("state", "reasons", "note", "device_type")]
    )


def test_no_message_is_left_out() -> None:
    """Every type of the three modules is walked, or is one that a Sentry sends; what is inside of them, too."""
    declared = {
        name
        for module in (api, cloud_api, enrolment)
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__
    } - {"_Message"}
    assert declared - FROM_SENTRYS == set(owners.sent()) - {"Policy", "Wipe", "AppTunnel"}
    assert declared >= FROM_SENTRYS


@pytest.mark.parametrize(
    "kind",
    [
        *(api.Decision, api.DecisionPage, api.Digests, api.BucketPage, api.Push, api.Problem),
        *(cloud_api.Candidates, cloud_api.Unidentified, cloud_api.CloudSettings, enrolment.Enrolled),
        *(Wipe, AppTunnel, Policy),
    ],
)
def test_nothing_unknown_is_taken(kind: type[msgspec.Struct]) -> None:
    """A field that is in no type does not get past the parser, so the table is all there is."""
    assert kind.__name__ in owners.sent()
    assert kind.__struct_config__.forbid_unknown_fields


def test_the_documentation_has_the_table() -> None:
    """`python -m sentry_runtime.uem.owners` makes it."""
    assert owners.text() in (ROOT / "docs/uem-api.md").read_text()


@pytest.mark.parametrize("account", DATA_PLANE)
def test_the_data_planes_accounts_are_not_in_the_group_of_the_management_planes_socket(account: str) -> None:
    """`configd.sock` is root's and of this group (`appliance.configd`); and where they write is what the table says. That an
    account which gets there is refused all the same: tests/unit/appliance/configd/test_sessions.py."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(ROOT / f"roles/sentry/files/{account}.service")
    service = unit["Service"]
    groups = {service["Group"], *service["SupplementaryGroups"].split()}
    assert "sentry-mgmt" not in groups
    assert groups <= {"sentry-agent", "sentry-uem", "sentry-gateway", "sentry-devices", "sentry-runtime"}
    assert service["User"] == account
    assert (service["ProtectSystem"], service["NoNewPrivileges"]) == ("strict", "yes")
    own = {"devices", "revocation", "enrolment", "uem"}
    assert {Path(place).name for place in service["ReadWritePaths"].split()} <= own
    assert {str(Path(place).parent) for place in service["ReadWritePaths"].split()} == {"/var/lib/sentry"}


def test_no_module_of_the_data_plane_names_that_socket() -> None:
    """Nor its folder."""
    looked_at = 0
    for path in (ROOT / "sentry_runtime").rglob("*.py"):
        assert "configd.sock" not in path.read_text(), path
        assert "sentry-configd" not in path.read_text(), path
        looked_at += 1
    assert looked_at > 100
