"""What a device lacks of the policy, and what its Provision is answered with."""

from pathlib import Path

import pytest

from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas.policy import Phase, Policy, digest
from sentry_runtime.eas.provision import EAS_WBXML, Acknowledgement, Ask, decode_response, encode_request
from sentry_runtime.gateway.decide import Need
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.provisioning import Provisioning, load
from sentry_runtime.settings import Gateway, ServerTls, SettingsError

POLICY = Policy(device_password_enabled=True)
OURS = Provisioning(POLICY, b"s" * 32, lenient=False, digest=digest(POLICY))
GATEWAY = Gateway(listeners=(), tls=ServerTls(certificate="/c", key="/k"), backends=())


def claim(command: str = "Sync", key: int | None = None, *aliases: str, protocol: str = "14.1") -> Claim:
    """A request of PHONE1."""
    return Claim(DeviceKey("PHONE1", "anna"), aliases, "iPhone", "anna", command, protocol, key)


FINAL, TEMPORARY = OURS.key(claim(), Phase.FINAL), OURS.key(claim(), Phase.TEMPORARY)


@pytest.mark.parametrize(
    ("asked", "need"),
    [
        (claim("Sync", None), Need.POLICY_KEY_MISSING),
        (claim("Sync", 0), Need.POLICY_KEY_MISSING),
        (claim("Sync", TEMPORARY), Need.POLICY_KEY_MISSING),
        (claim("Sync", FINAL ^ 1), Need.POLICY_KEY_WRONG),
        (claim("Sync", FINAL + 2**31), Need.POLICY_KEY_WRONG),
        (claim("Sync", FINAL), None),
        (claim("Provision", FINAL), Need.PROVISION_ASKED),
        (claim("OPTIONS", None), None),
        (Claim(None, (), "", "anna", "OPTIONS", "", None), None),
        (claim("Sync", FINAL, "ANOTHER"), Need.POLICY_KEY_WRONG),
    ],
)
def test_the_table(asked: Claim, need: Need | None) -> None:
    """By command and key."""
    assert OURS.need(asked) == need


def test_a_key_in_the_header_acknowledges_where_the_body_has_none() -> None:
    """And the body's counts where it has one."""
    body = encode_request(Acknowledgement(EAS_WBXML, None, 1))
    assert OURS.reply(claim("Provision", TEMPORARY), body).granted
    assert not OURS.reply(claim("Provision", FINAL), body).granted
    assert OURS.reply(claim("Provision", 0), encode_request(Acknowledgement(EAS_WBXML, TEMPORARY, 1))).granted
    assert not OURS.reply(claim("Provision", TEMPORARY), encode_request(Acknowledgement(EAS_WBXML, 1, 1))).granted


def test_a_client_that_names_no_version_gets_what_12_0_knows() -> None:
    """And no answer that it could not read."""
    reply = OURS.reply(claim("Provision", 0, protocol=""), encode_request(Ask(EAS_WBXML)))
    offered = decode_response(reply.answer.body).policy
    assert offered is not None
    assert offered.document == POLICY


def test_the_secret_is_not_shown() -> None:
    """Whoever logs the object."""
    assert "ssss" not in repr(OURS)


def test_no_policy_needs_no_secret() -> None:
    """As before."""
    assert load(GATEWAY) is None


@pytest.mark.parametrize(("size", "taken"), [(31, False), (32, True), (4_096, True), (4_097, False)])
def test_the_secret_has_a_sensible_size(tmp_path: Path, size: int, taken: bool) -> None:  # noqa: FBT001 - a table
    """Neither too few bytes nor another file."""
    path = tmp_path / "fleet.key"
    path.write_bytes(b"s" * size)
    gateway = Gateway(
        listeners=(), tls=GATEWAY.tls, backends=(), policy=POLICY, fleet_secret=str(path), non_provisionable="allow"
    )
    if taken:
        assert load(gateway) == Provisioning(POLICY, b"s" * size, lenient=True, digest=digest(POLICY))
    else:
        with pytest.raises(SettingsError, match=f"{size if size < 4_096 else 4_097} bytes; 32 to 4096"):
            load(gateway)


def test_a_policy_without_a_secret_is_refused() -> None:
    """By the name of what is missing."""
    with pytest.raises(SettingsError, match=r"gateway\.fleet_secret"):
        load(Gateway(listeners=(), tls=GATEWAY.tls, backends=(), policy=POLICY))


def test_where_a_backend_enforces_a_policy_keys_are_made_over_both() -> None:
    """A change of either side makes another key; until the backend has given its own, none opens anything."""
    held = Enforcement(final=7, digest=b"d" * 32)
    joint = OURS.joined(held)
    final, temporary = joint.key(claim(), Phase.FINAL), joint.key(claim(), Phase.TEMPORARY)
    assert final not in (FINAL, temporary)
    changed = Provisioning(Policy(), b"s" * 32, lenient=False, digest=digest(Policy()))
    assert changed.joined(held).key(claim(), Phase.FINAL) != final
    assert OURS.joined(Enforcement(final=7, digest=b"e" * 32)).key(claim(), Phase.FINAL) != final
    # Which keys the backend has given is no part of it.
    assert OURS.joined(Enforcement(temporary=9, digest=b"d" * 32)).key(claim(), Phase.FINAL) == final
    assert OURS.need(claim("Sync", final), held) is None
    assert OURS.need(claim("Sync", FINAL), held) is Need.POLICY_KEY_WRONG
    assert OURS.need(claim("Sync", temporary), held) is Need.POLICY_KEY_MISSING
    for unfinished in (Enforcement(temporary=9, digest=b"d" * 32), Enforcement()):
        key = OURS.joined(unfinished).key(claim(), Phase.FINAL)
        assert OURS.need(claim("Sync", key), unfinished) is Need.POLICY_KEY_MISSING
        assert OURS.need(claim("Provision", key), unfinished) is Need.PROVISION_ASKED
        assert OURS.need(claim("OPTIONS", None), unfinished) is None
