"""What a managedDevice of Microsoft Graph becomes: its table, row by row, and what no record may become."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices.record import DeviceKey, Reason
from sentry_runtime.eas.principal import Names
from sentry_runtime.settings import Intune
from sentry_runtime.uem.adapters.entry import Entry, LeftOut
from sentry_runtime.uem.adapters.intune import Device, entry, page
from sentry_runtime.uem.adapters.intune_table import COMPLIANT, REGISTERED, UNMANAGED
from sentry_runtime.uem.link import LinkRefusedError

RULES = Intune(login_url="https://l", tenant="lab.test", client="c", secret="/s")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
PHONE = Device(
    compliance_state="compliant",
    device_registration_state="registered",
    management_agent="mdm",
    eas_device_id="appl1",
    user_principal_name="Anna@lab.test",
    email_address="Anna.Smith@lab.test",
    jail_broken="False",
    is_encrypted=True,
    last_sync_date_time=NOW,
    partner_reported_threat_state="unknown",
    operating_system="iOS",
    model="iPhone 15",
)
# Every value of the reference, and one that it does not have yet.
COMPLIANCE = ["unknown", "compliant", "noncompliant", "conflict", "error", "inGracePeriod", "configManager", "brandNew"]
REGISTRATION = [
    *("notRegistered", "registered", "revoked", "keyConflict", "approvalPending", "certificateReset"),
    *("notRegisteredPendingEnrollment", "unknown", "brandNew"),
]
DEVICES = st.builds(
    Device,
    compliance_state=st.sampled_from(COMPLIANCE),
    device_registration_state=st.sampled_from(REGISTRATION),
    management_agent=st.sampled_from(["mdm", "eas", "easMdm", "unknown", "intuneClient"]),
    eas_device_id=st.one_of(st.none(), st.just("appl1"), st.text(max_size=70)),
    user_principal_name=st.one_of(st.none(), st.just("anna@lab.test"), st.text(max_size=20)),
    email_address=st.one_of(st.none(), st.just("anna@lab.test"), st.text(max_size=20)),
    jail_broken=st.sampled_from([None, "True", "true", "False", "Unknown"]),
    is_encrypted=st.sampled_from([None, True, False]),
    last_sync_date_time=st.one_of(st.none(), st.datetimes(timezones=st.just(UTC))),
    partner_reported_threat_state=st.sampled_from([None, "unknown", "secured", "highSeverity", "compromised"]),
    operating_system=st.one_of(st.none(), st.text(max_size=20)),
    model=st.one_of(st.none(), st.text(max_size=20)),
)


def said(rules: Intune = RULES, **changes: Any) -> Entry:
    """What a good phone with these changes becomes."""
    made = entry(msgspec.structs.replace(PHONE, **changes), rules, Names(), NOW.timestamp())
    assert isinstance(made, Entry)
    return made


def with_(**changes: Any) -> Intune:
    """The rules with these changes."""
    return msgspec.structs.replace(RULES, **changes)


def test_a_compliant_registered_phone_is_allowed() -> None:
    """With the names that the device list has."""
    assert said() == Entry(
        DeviceKey("APPL1", "anna@lab.test"), registered=True, device_type="iPhone 15", seen=NOW.timestamp()
    )


@pytest.mark.parametrize("state", COMPLIANCE)
def test_what_is_not_compliant_is_blocked(state: str) -> None:
    """Within the grace period Intune lets it in; what nobody has heard of is no compliance."""
    assert said(compliance_state=state).reasons == (set() if state in COMPLIANT else {Reason.POLICY})
    assert {"compliant", "inGracePeriod"} == COMPLIANT


@pytest.mark.parametrize("state", REGISTRATION)
def test_what_is_not_registered_is_unregistered(state: str) -> None:
    """A revoked device was blocked, wiped or retired: that holds where the site lets the unregistered in, too."""
    made, lax = (
        said(device_registration_state=state),
        said(with_(block_unregistered=False), device_registration_state=state),
    )
    assert made.registered == lax.registered == (state in REGISTERED)
    by_hand = {Reason.MANUAL} if state == "revoked" else set()
    assert made.reasons == (set() if made.registered else {Reason.UNREGISTERED} | by_hand)
    assert lax.reasons == by_hand


@pytest.mark.parametrize("agent", sorted(UNMANAGED))
def test_what_only_exchange_knows_is_nobodys(agent: str) -> None:
    """Intune lists such devices, and calls them compliant."""
    assert said(management_agent=agent).reasons == {Reason.UNREGISTERED}


@pytest.mark.parametrize(
    ("changes", "compromised"),
    [
        ({"jail_broken": "True"}, True),
        ({"jail_broken": "true"}, True),
        ({"jail_broken": "Unknown"}, False),
        ({"jail_broken": None}, False),
        ({"partner_reported_threat_state": "compromised"}, True),
        ({"partner_reported_threat_state": "highSeverity"}, True),
        ({"partner_reported_threat_state": "mediumSeverity"}, False),
    ],
)
def test_a_compromised_phone_stays_out_whatever_its_compliance(changes: dict[str, Any], *, compromised: bool) -> None:
    """No policy of the tenant's need be about it."""
    assert (said(**changes).reasons == {Reason.COMPROMISED}) == compromised


def test_a_site_may_want_encryption_and_a_recent_contact() -> None:
    """Beyond what the tenant's policies want."""
    assert said(is_encrypted=False).reasons == set()
    assert said(with_(block_unencrypted=True), is_encrypted=False).reasons == {Reason.NOT_ENCRYPTED}
    assert said(with_(block_unencrypted=True), is_encrypted=None).reasons == set()
    strict, week = with_(contact_days=7), NOW - timedelta(days=7)
    assert said(strict, last_sync_date_time=week).reasons == set()
    for seen in (week - timedelta(seconds=1), datetime(1, 1, 1, tzinfo=UTC), None):
        assert said(strict, last_sync_date_time=seen).reasons == {Reason.OUT_OF_CONTACT}
        assert said(last_sync_date_time=seen).reasons == set()


def test_the_site_says_which_property_names_the_user() -> None:
    """Whose address is another one's principal name is not let in by it."""
    assert said(with_(principal="email_address")).key.principal == "anna.smith@lab.test"
    nobody = entry(msgspec.structs.replace(PHONE, user_principal_name=None), RULES, Names(), 0.0)
    assert nobody is LeftOut.NO_USER
    assert entry(msgspec.structs.replace(PHONE, eas_device_id=""), RULES, Names(), 0.0) is LeftOut.NO_DEVICE_ID


@given(device=DEVICES, block_unregistered=st.booleans(), block_unencrypted=st.booleans(), days=st.integers(0, 3))
def test_only_a_compliant_uncompromised_device_is_ever_allowed(
    *, device: Device, block_unregistered: bool, block_unencrypted: bool, days: int
) -> None:
    """Whatever else is said of it."""
    rules = with_(block_unregistered=block_unregistered, block_unencrypted=block_unencrypted, contact_days=days)
    made = entry(device, rules, Names(), NOW.timestamp())
    if isinstance(made, LeftOut) or made.reasons:
        return
    assert device.compliance_state in COMPLIANT
    assert device.jail_broken not in ("True", "true")
    assert device.device_registration_state != "revoked"
    assert made.registered or not block_unregistered
    assert not made.registered or device.management_agent not in UNMANAGED
    assert device.is_encrypted is not False or not block_unencrypted


@given(st.lists(DEVICES, max_size=3), st.one_of(st.none(), st.text(max_size=20)))
def test_what_graph_writes_is_what_is_read(devices: list[Device], link: str | None) -> None:
    """With properties that were not asked for, which are passed over."""
    rows = [{**msgspec.to_builtins(device), "@odata.type": "#x", "id": "1"} for device in devices]
    body = msgspec.json.encode({"@odata.context": "x", "value": rows, "@odata.nextLink": link})
    assert page(body) == (devices, link)


@given(st.binary(max_size=200))
def test_whatever_bytes_come_they_are_read_or_refused(body: bytes) -> None:
    """By one error."""
    try:
        page(body)
    except LinkRefusedError:
        return


def test_an_answer_of_many_levels_is_refused_too() -> None:
    """The decoder says so by an error of another kind, which nobody behind this waits for."""
    with pytest.raises(LinkRefusedError, match="not of its API"):
        page(b'{"value":[],"x":' + b"[" * 100_000)
