"""What a device lacks of its policy, and what its Provision is answered with: functions of the policy and its keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.provision import (
    EAS_WBXML,
    Acknowledgement,
    Ask,
    Response,
    decode_response,
    encode_request,
)
from sentry_runtime.gateway.decide import Need
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.provisioning import Keys, Terms, need, reply

POLICY = Policy(device_password_enabled=True)
TEMPORARY, FINAL, BEFORE, LONG_AGO = 11, 22, 33, 44
KEYS = Keys(TEMPORARY, FINAL, (BEFORE, LONG_AGO))
TERMS = Terms(POLICY, KEYS)
SAYS = DeviceInformation(model="iPhone10C1")
UINT32 = st.integers(0, 2**32 - 1)


def claim(command: str = "Sync", key: int | None = None, *, protocol: str = "14.1") -> Claim:
    """A request of PHONE1."""
    return Claim(DeviceKey("PHONE1", "anna"), (), "iPhone", "anna", command, protocol, key)


@pytest.mark.parametrize(
    ("asked", "strict", "lenient"),
    [
        (claim("Sync", None), Need.POLICY_KEY_MISSING, None),
        (claim("Sync", 0), Need.POLICY_KEY_MISSING, Need.POLICY_KEY_MISSING),
        (claim("Sync", TEMPORARY), Need.POLICY_KEY_MISSING, Need.POLICY_KEY_MISSING),
        (claim("Sync", BEFORE), Need.POLICY_CHANGED, Need.POLICY_CHANGED),
        (claim("Sync", LONG_AGO), Need.POLICY_CHANGED, Need.POLICY_CHANGED),
        (claim("Sync", FINAL + 2**31), Need.POLICY_KEY_WRONG, Need.POLICY_KEY_WRONG),
        (claim("Sync", FINAL), None, None),
        (claim("Ping", None), None, None),
        (claim("Ping", 0), Need.POLICY_KEY_MISSING, Need.POLICY_KEY_MISSING),
        (claim("Ping", BEFORE), Need.POLICY_CHANGED, Need.POLICY_CHANGED),
        (claim("Provision", None), Need.PROVISION_ASKED, Need.PROVISION_ASKED),
        (claim("Provision", FINAL), Need.PROVISION_ASKED, Need.PROVISION_ASKED),
        (claim("OPTIONS", None), None, None),
        (claim("OPTIONS", 7), None, None),
    ],
)
def test_the_table(asked: Claim, strict: Need | None, lenient: Need | None) -> None:
    """By command and key, at a site that lets only provisioned clients pass and at one that lets all."""
    assert need(asked, KEYS, lenient=False) == strict
    assert need(asked, KEYS, lenient=True) == lenient


@given(UINT32, st.builds(Keys, st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1)), st.booleans())
def test_of_the_keys_that_are_sent_only_the_final_one_opens(key: int, keys: Keys, lenient: bool) -> None:  # noqa: FBT001
    """Whatever the site's lenience, which is for clients that send none."""
    assert (need(claim("Sync", key), keys, lenient=lenient) is None) == (key == keys.final)


@pytest.mark.parametrize(
    ("asked", "strict", "lenient"),
    [
        (claim("Sync", FINAL), Need.POLICY_KEY_MISSING, Need.POLICY_KEY_MISSING),
        (claim("Sync", TEMPORARY), Need.POLICY_KEY_MISSING, Need.POLICY_KEY_MISSING),
        (claim("Sync", BEFORE), Need.POLICY_CHANGED, Need.POLICY_CHANGED),
        (claim("Sync", FINAL + 2**31), Need.POLICY_KEY_WRONG, Need.POLICY_KEY_WRONG),
        (claim("Sync", None), Need.POLICY_KEY_MISSING, None),
        (claim("Ping", None), Need.POLICY_KEY_MISSING, None),
        (claim("Provision", FINAL), Need.PROVISION_ASKED, Need.PROVISION_ASKED),
        (claim("OPTIONS", None), None, None),
    ],
)
def test_the_table_where_a_backend_has_not_given_its_key(
    asked: Claim, strict: Need | None, lenient: Need | None
) -> None:
    """No key opens, and no Ping passes without one."""
    assert need(asked, KEYS, lenient=False, unfinished=True) == strict
    assert need(asked, KEYS, lenient=True, unfinished=True) == lenient


def test_without_a_secret_no_key_opens() -> None:
    """The keys of such a gateway are negative: nobody can send one, and 0 is none of them."""
    for key in (None, 0, 1, 2**32 - 1):
        assert need(claim("Sync", key), Keys(-1, -1), lenient=False) is not None


def test_a_key_in_the_header_acknowledges_where_the_body_has_none() -> None:
    """And the body's counts where it has one."""
    body = encode_request(Acknowledgement(EAS_WBXML, None, 1))
    assert reply(claim("Provision", TEMPORARY), TERMS, body).granted
    assert not reply(claim("Provision", FINAL), TERMS, body).granted
    assert reply(claim("Provision", 0), TERMS, encode_request(Acknowledgement(EAS_WBXML, TEMPORARY, 1))).granted
    assert not reply(claim("Provision", TEMPORARY), TERMS, encode_request(Acknowledgement(EAS_WBXML, 1, 1))).granted


@given(UINT32.filter(lambda key: key != TEMPORARY), st.integers(1, 4), st.booleans())
def test_no_other_key_acknowledges(key: int, status: int, lenient: bool) -> None:  # noqa: FBT001
    """Not the final one, not one of an earlier policy."""
    body = encode_request(Acknowledgement(EAS_WBXML, key, status))
    answered = reply(claim("Provision", key), Terms(POLICY, KEYS, lenient), body)
    policy = decode_response(answered.answer.body).policy
    assert policy is not None
    assert (answered.granted, policy.status, policy.key) == (False, 5, None)


def test_a_client_that_names_no_version_gets_what_12_0_knows() -> None:
    """And no answer that it could not read."""
    answered = reply(claim("Provision", 0, protocol=""), TERMS, encode_request(Ask(EAS_WBXML)))
    offered = decode_response(answered.answer.body).policy
    assert offered is not None
    assert offered.document == POLICY


@pytest.mark.parametrize(
    ("protocol", "device", "status"),
    [
        ("14.1", None, 165),
        ("16.0", None, 165),
        ("16.1", None, 165),
        ("14.1", SAYS, 1),
        ("14.1", DeviceInformation(), 1),
        ("14.0", None, 1),
        ("12.1", None, 1),
        ("", None, 1),
    ],
)
def test_a_modern_client_must_say_what_it_is(protocol: str, device: DeviceInformation | None, status: int) -> None:
    """Else it gets no policy; what it says goes with the reply."""
    answered = reply(claim("Provision", 0, protocol=protocol), TERMS, encode_request(Ask(EAS_WBXML, device)))
    response = decode_response(answered.answer.body)
    assert (response.status, response.policy is None) == (status, status == 165)
    assert answered.says == device


def test_an_empty_provision_is_not_asked_what_it_is() -> None:
    """It asks whether a wipe is wanted, and none is."""
    answered = reply(claim("Provision", 0), TERMS, encode_request(Ask()))
    assert decode_response(answered.answer.body) == Response(status=2)
