"""How a device that is to be wiped is answered: every command, version and acknowledgement."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices.record import DeviceKey, Reason, Wipe, WipeKind, WipeMark
from sentry_runtime.eas.codepages import PROVISION
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy, wap_document
from sentry_runtime.eas.provision import (
    EAS_WBXML,
    WAP_XML,
    Acknowledgement,
    Ask,
    Request,
    Response,
    WipeAcknowledgement,
    decode_response,
    encode_request,
)
from sentry_runtime.eas.query import COMMANDS, VERSIONS
from sentry_runtime.eas.wbxml import element, encode
from sentry_runtime.gateway import wipe
from sentry_runtime.gateway.decide import Action, Verdict
from sentry_runtime.gateway.identify import Claim
from tests import oracle

DEVICE = Wipe(kind=WipeKind.DEVICE, order=7)
ACCOUNT = Wipe(kind=WipeKind.ACCOUNT, order=7)
KEY = DeviceKey("PHONE1", "anna@lab.test")
OLD = ("", "2.5", "12.0", "12.1")
NEW = ("14.0", "14.1", "16.0", "16.1")
BELOW_16_1 = (*OLD, *NEW[:-1])
DIRECTIVE = bytes.fromhex("03016a00000e454b033100010c01")  # MS-ASPROV 4.2.2
ACCOUNT_DIRECTIVE = DIRECTIVE.replace(b"\x0c", b"\x3b")


def claim(command: str = "Provision", protocol: str = "14.1") -> Claim:
    """A request of the device."""
    return Claim(KEY, (), "iPhone", KEY.principal, command, protocol, None)


def said(step: wipe.Step) -> Response:
    """The Provision in an answer."""
    assert (step.answer.status, step.action) == (200, "wipe")
    return decode_response(step.answer.body)


@pytest.mark.parametrize("command", [*COMMANDS.values(), "OPTIONS"])
@pytest.mark.parametrize("protocol", OLD + NEW)
def test_every_command_is_refused_so_that_the_client_provisions(command: str, protocol: str) -> None:
    """449 in all versions; from 14.0 on with Status 140 in the command's own document, where it has one."""
    step = wipe.refused(claim(command, protocol), DEVICE)
    assert (step.answer.status, step.reason, step.mark) == (449, "wipe_pending", None)
    without = command in ("OPTIONS", "GetAttachment", "GetHierarchy") or command.endswith("Collection")
    assert (b"\x03140\x00" in step.answer.body) == (protocol in NEW and not without)
    assert bool(step.answer.body) == (protocol in NEW and not without)


@pytest.mark.parametrize("protocol", OLD + NEW)
@pytest.mark.parametrize(
    ("body", "policy"),
    [
        pytest.param(b"", False, id="no body"),
        pytest.param(encode_request(Ask()), False, id="an empty Provision"),
        pytest.param(encode_request(Ask(EAS_WBXML)), True, id="phase 1"),
        pytest.param(encode_request(Ask(EAS_WBXML, DeviceInformation(model="x"))), True, id="phase 1 of 14.1"),
        pytest.param(encode_request(Ask(WAP_XML)), True, id="phase 1 of 2.5"),
        pytest.param(encode_request(Ask("Sealed-Letter")), False, id="a kind of policy that nobody knows"),
        pytest.param(encode_request(Acknowledgement(EAS_WBXML, 5, 1)), False, id="phase 2"),
    ],
)
def test_a_provision_gets_the_directive(protocol: str, body: bytes, policy: bool) -> None:  # noqa: FBT001
    """To phase 1 with a policy that restricts nothing and a key, since there are clients that wipe only then."""
    step = wipe.provisioned(claim(protocol=protocol), DEVICE, body)
    response = said(step)
    assert (response.status, response.remote_wipe, response.account_only_remote_wipe) == (1, True, False)
    assert (step.reason, step.mark) == ("wipe_handed_out", WipeMark.HANDED_OUT)
    fitting = policy and ((WAP_XML.encode() in body) == (protocol == "2.5") or protocol == "")
    assert (response.policy is not None) == fitting
    if response.policy is not None:
        document = wap_document(Policy()) if response.policy.policy_type == WAP_XML else Policy()
        assert (response.policy.status, response.policy.document) == (1, document)
        assert response.policy.key
    else:
        assert step.answer.body == DIRECTIVE or response.device_status == 1


def test_device_information_is_answered_too() -> None:
    """14.1 sends it with phase 1 and looks for its status."""
    asked = encode_request(Ask(EAS_WBXML, DeviceInformation(model="iPhone10C1")))
    assert said(wipe.provisioned(claim(), DEVICE, asked)).device_status == 1


@pytest.mark.parametrize("protocol", OLD + NEW)
def test_an_acknowledgement_is_taken_and_one_of_failure_gets_the_directive_again(protocol: str) -> None:
    """Status 1 is done; anything else is not (MS-ASPROV 3.2.5.1.2.2)."""
    done = wipe.provisioned(claim(protocol=protocol), DEVICE, encode_request(WipeAcknowledgement(1)))
    assert (said(done), done.mark) == (Response(status=1), WipeMark.UNVERIFIED)
    for status in (2, 0, 9):
        failed = wipe.provisioned(claim(protocol=protocol), DEVICE, encode_request(WipeAcknowledgement(status)))
        assert (said(failed), failed.mark) == (Response(status=2, remote_wipe=True), WipeMark.FAILED)


def test_an_acknowledgement_may_come_together_with_the_policys() -> None:
    """Older Android clients acknowledge both in one body."""
    kind, key = element(PROVISION, "PolicyType", EAS_WBXML), element(PROVISION, "PolicyKey", "1")
    status = element(PROVISION, "Status", "1")
    policies = element(PROVISION, "Policies", element(PROVISION, "Policy", kind, key, status))
    body = encode(element(PROVISION, "Provision", policies, element(PROVISION, "RemoteWipe", status)))
    assert wipe.provisioned(claim(protocol="12.1"), DEVICE, body).mark is WipeMark.UNVERIFIED


@pytest.mark.parametrize(("ordered", "account_only"), [(DEVICE, True), (ACCOUNT, False)])
def test_the_acknowledgement_of_another_kind_of_wipe_is_none(ordered: Wipe, account_only: bool) -> None:  # noqa: FBT001
    """Who deleted less than was ordered, or claims more, gets what was ordered."""
    body = encode_request(WipeAcknowledgement(1, account_only=account_only))
    step = wipe.provisioned(claim(protocol="16.1"), ordered, body)
    assert step.mark is WipeMark.HANDED_OUT
    assert said(step).account_only_remote_wipe is (ordered is ACCOUNT)


def test_an_account_is_wiped_from_16_1_on() -> None:
    """With the element of its own, the same words otherwise."""
    new = claim(protocol="16.1")
    assert wipe.refused(claim("Sync", "16.1"), ACCOUNT).answer.body.endswith(b"\x03140\x00\x01\x01")
    assert wipe.provisioned(new, ACCOUNT, encode_request(Ask())).answer.body == ACCOUNT_DIRECTIVE
    offered = said(wipe.provisioned(new, ACCOUNT, encode_request(Ask(EAS_WBXML))))
    assert (offered.remote_wipe, offered.account_only_remote_wipe) == (False, True)
    done = wipe.provisioned(new, ACCOUNT, encode_request(WipeAcknowledgement(1, account_only=True)))
    assert (said(done), done.mark) == (Response(), WipeMark.UNVERIFIED)
    failed = wipe.provisioned(new, ACCOUNT, encode_request(WipeAcknowledgement(2, account_only=True)))
    assert said(failed) == Response(status=2, account_only_remote_wipe=True)


@pytest.mark.parametrize("protocol", BELOW_16_1)
@pytest.mark.parametrize("body", [b"", encode_request(Ask(EAS_WBXML)), encode_request(WipeAcknowledgement(1))])
def test_below_16_1_there_is_no_wipe_of_an_account_and_the_device_is_blocked(protocol: str, body: bytes) -> None:
    """As any blocked device; that its version is too old is what comes of the order, and no wipe of everything."""
    for step in (
        wipe.refused(claim("Sync", protocol), ACCOUNT),
        wipe.provisioned(claim(protocol=protocol), ACCOUNT, body),
    ):
        assert (step.reason, step.mark) == ("account_wipe_needs_16_1", WipeMark.TOO_OLD)
        assert step.answer.status == (200 if protocol in NEW else 403)
        assert (b"\x03129\x00" in step.answer.body) == (protocol in NEW)


def test_options_of_an_account_to_be_wiped_is_not_held_against_its_version() -> None:
    """It need not say one, and a device that learns of 16.1 by it gets the wipe."""
    step = wipe.refused(claim("OPTIONS", ""), ACCOUNT)
    assert (step.answer.status, step.mark) == (449, None)


@pytest.mark.parametrize(
    ("command", "protocol", "status", "body"),
    [
        ("Ping", "2.5", 200, "03 01 6a 00 00 0d 45 47 03 37 00 01 01"),
        ("Ping", "12.1", 200, "03 01 6a 00 00 0d 45 47 03 37 00 01 01"),
        ("Ping", "14.1", 449, "03 01 6a 00 00 0d 45 47 03 31 34 30 00 01 01"),
        ("Sync", "16.1", 449, "03 01 6a 00 45 4e 03 31 34 30 00 01 01"),
        ("Sync", "12.1", 449, ""),
    ],
)
def test_what_is_held_ends_so_that_the_device_comes_back(command: str, protocol: str, status: int, body: str) -> None:
    """An older client's Ping ends with "do a FolderSync", which it does, and gets 449."""
    answer = wipe.revoked(claim(command, protocol), DEVICE)
    assert (answer.status, answer.body.hex(" ")) == (status, body)


@pytest.mark.parametrize(
    ("body", "encoding", "status", "reason"),
    [
        (b"\x03\x01\x6a\x00\x00\x0e\x45", b"", 400, "provision_malformed"),
        (b"<Provision/>", b"", 400, "provision_malformed"),
        (encode_request(Ask()), b"gzip", 415, "provision_encoded"),
    ],
)
def test_what_is_no_provision_is_refused(body: bytes, encoding: bytes, status: int, reason: str) -> None:
    """With one HTTP error, and nothing comes of it."""
    step = wipe.provisioned(claim(), DEVICE, body, encoding)
    assert (step.answer.status, step.reason, step.action, step.mark) == (status, reason, "deny", None)


requests = st.one_of(
    st.builds(Ask, st.sampled_from(["", EAS_WBXML, WAP_XML]), st.none() | st.just(DeviceInformation(model="x"))),
    st.builds(Acknowledgement, st.just(EAS_WBXML), st.none() | st.integers(0, 2**32 - 1), st.integers(0, 9)),
    st.builds(WipeAcknowledgement, st.integers(0, 9), st.booleans()),
)
protocols = st.sampled_from(["", *VERSIONS.values()])


@given(requests, protocols, st.sampled_from([DEVICE, ACCOUNT]))
def test_nobody_gets_a_policy_key_twice_or_another_wipe_than_was_ordered(
    request: Request, protocol: str, ordered: Wipe
) -> None:
    """Whatever is asked in whatever version: no final key, never both directives, never more than was ordered."""
    step = wipe.provisioned(claim(protocol=protocol), ordered, encode_request(request))
    if step.answer.status != 200 or step.mark is WipeMark.TOO_OLD:
        return
    response = said(step)
    assert not (response.policy is not None and isinstance(request, Acknowledgement))
    assert not (response.remote_wipe and ordered is ACCOUNT)
    assert not (response.account_only_remote_wipe and ordered is DEVICE)
    directed = response.remote_wipe or response.account_only_remote_wipe
    assert directed != (step.mark is WipeMark.UNVERIFIED)


@given(st.binary(max_size=200), protocols)
def test_any_bytes_get_an_answer(body: bytes, protocol: str) -> None:
    """A stranger's, too."""
    assert wipe.provisioned(claim(protocol=protocol), DEVICE, body).answer.status in (200, 400)


def test_an_entry_without_its_order_is_a_wipe_of_the_device() -> None:
    """From before orders were kept."""
    assert wipe.order(Verdict(Action.WIPE, (Reason.WIPED,))) == Wipe(kind=WipeKind.DEVICE, order=0)
    assert wipe.order(Verdict(Action.WIPE, wipe=ACCOUNT)) is ACCOUNT


@pytest.mark.parametrize("protocol", [*OLD, *NEW])
def test_an_independent_decoder_reads_the_directive_and_the_refusals(protocol: str) -> None:
    """libwbxml, for what a client of each version gets. It is of 14.1: AccountOnlyRemoteWipe has no name there."""
    read = oracle.to_xml
    kind = WAP_XML if protocol == "2.5" else EAS_WBXML
    whole = read(wipe.provisioned(claim(protocol=protocol), DEVICE, encode_request(Ask(kind))).answer.body)
    assert "<Status>1</Status><Policies>" in whole
    assert f"<PolicyType>{kind}</PolicyType>" in whole
    assert whole.endswith("</Policies><RemoteWipe/></Provision>")
    failed = wipe.provisioned(claim(protocol=protocol), DEVICE, encode_request(WipeAcknowledgement(2)))
    assert read(failed.answer.body).endswith("<Status>2</Status><RemoteWipe/></Provision>")
    if protocol == "16.1":
        account = wipe.provisioned(claim(protocol=protocol), ACCOUNT, encode_request(Ask())).answer.body
        assert read(account).endswith("<Status>1</Status><unknown/></Provision>")
    if protocol in NEW:
        assert "<Status>140</Status></FolderSync>" in read(
            wipe.refused(claim("FolderSync", protocol), DEVICE).answer.body
        )
