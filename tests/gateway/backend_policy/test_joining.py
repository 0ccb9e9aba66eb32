"""The document and the key: the device applies both policies, and the backend gets its own key."""

import msgspec
import pytest

from sentry_runtime.devices.record import State
from sentry_runtime.eas.codepages import PROVISION
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy, document, read_document, wap_document
from sentry_runtime.eas.provision import (
    EAS_WBXML,
    WAP_XML,
    Acknowledgement,
    Ask,
    PolicyAnswer,
    Response,
    decode_response,
    encode_request,
    encode_response,
)
from sentry_runtime.eas.wbxml import Element, element
from tests.gateway.backend_policy.conftest import BOTH, PHONES, POLICY, MakeEnforced, held_ping, reasons
from tests.gateway.enforcer import DEMANDED
from tests.gateway.stand import PHONE, Turn, until
from tests.gateway.test_provisioning import (
    FORMS,
    SAYS,
    Form,
    key_in,
    kind_of,
    packed,
    plain,
    provision,
    reload,
    say,
    set_gateway,
)


@pytest.mark.parametrize(("form", "protocol"), FORMS)
async def test_a_device_applies_both_policies_and_the_backend_gets_its_own_key(
    make_enforced: MakeEnforced, form: Form, protocol: str
) -> None:
    """In every version and form: phase 1 asks the backend, phase 2 tells it, and its key is in what follows."""
    stand, backend = await make_enforced()
    device, kind = await stand.device(), kind_of(protocol)
    offered = await say(device, form, protocol, Ask(kind, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == (wap_document(BOTH) if protocol == "2.5" else BOTH)
    temporary = key_in(offered)
    # The backend was asked in the device's own form, with its credentials, and told nothing yet.
    assert backend.heard == [Ask(kind, SAYS)]
    assert backend.keys_heard == ([0] if form is packed else [None])
    asked = stand.backend.provisions[0]
    assert asked.target == form("Provision", protocol, 0).split(b" ")[1].decode()
    assert asked.value("Authorization").startswith("Basic ")
    assert temporary != backend.temporary
    # The temporary key opens nothing, and nothing of this reaches the backend.
    assert (await device.ask(form("FolderSync", protocol, temporary))).status == 449
    assert stand.backend.seen == []
    theirs = backend.temporary
    final = key_in(await say(device, form, protocol, Acknowledgement(kind, temporary, 1), temporary))
    assert backend.heard[1:] == [Acknowledgement(kind, theirs, 1)]
    assert backend.keys_heard[1:] == [theirs]
    assert final not in (temporary, backend.key)
    served = await device.ask(form("FolderSync", protocol, final, b"body"))
    assert (served.status, served.body) == (200, b"served")
    (seen,) = stand.backend.seen
    assert (seen.query.policy_key, seen.body) == (backend.key, b"body")
    assert seen.target == form("FolderSync", protocol, backend.key).split(b" ")[1].decode()
    assert stand.agent.held(PHONES[form]) is not None
    assert [reason for _, (reason,) in (await reasons(stand, 3))] == [
        "joint_policy_offered",
        "policy_key_missing",
        "joint_policy_applied",
    ]


async def test_a_changed_policy_of_the_gateways_makes_the_device_provision_again(make_enforced: MakeEnforced) -> None:
    """The backend is asked anew too, and the document joins both anew."""
    stand, _ = await make_enforced()
    device = await stand.device()
    old = await provision(device)
    set_gateway(stand, policy=Policy(min_device_password_length=16))
    await reload(stand)
    device = await stand.device()
    assert (await device.ask(plain("FolderSync", "14.1", old))).status == 449
    offered = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == msgspec.structs.replace(DEMANDED, min_device_password_length=16)
    temporary = key_in(offered)
    new = key_in(await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 1), temporary))
    assert (await device.ask(plain("FolderSync", "14.1", new))).body == b"served"


async def test_what_no_device_has_done_is_never_attested(make_enforced: MakeEnforced) -> None:
    """A device that did not apply the document gets no key, and the backend hears nothing."""
    stand, backend = await make_enforced()
    device = await stand.device()
    temporary = key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    for status in (2, 3, 4):
        refused = await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, status), temporary)
        assert refused == Response(145 if status == 4 else 139)
    assert len(backend.heard) == 1


@pytest.mark.parametrize("grants", [True, False])
async def test_a_lenient_gateway_tells_the_backend_what_the_device_has_said(
    make_enforced: MakeEnforced,
    grants: bool,  # noqa: FBT001 - a table
) -> None:
    """Which then decides for itself."""
    stand, backend = await make_enforced(non_provisionable="allow")
    backend.grants = grants
    device = await stand.device()
    temporary = key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    theirs = backend.temporary
    answer = await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 2), temporary)
    assert backend.heard[1:] == [Acknowledgement(EAS_WBXML, theirs, 2)]
    if grants:
        assert (await device.ask(plain("FolderSync", "14.1", key_in(answer)))).body == b"served"
    else:
        assert answer == Response(139)


async def test_each_device_joins_its_own_policy_with_the_backends(make_enforced: MakeEnforced) -> None:
    """The UEM's word goes before the site's; a device that has to apply none is the backend's alone."""
    stand, backend = await make_enforced(policy=None)
    await stand.agent.put(PHONE, State.ALLOWED, policy=POLICY)
    device = await stand.device()
    offered = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == BOTH
    final = await provision(device)
    assert (await device.ask(plain("FolderSync", "14.1", final))).body == b"served"
    assert stand.backend.seen[-1].query.policy_key == backend.key
    theirs = await say(device, packed, "14.1", Ask(EAS_WBXML, SAYS))
    assert theirs.policy is not None
    assert (theirs.policy.document, theirs.policy.key) == (DEMANDED, backend.temporary)
    assert b"\x03144\x00" in (await device.ask(packed("FolderSync", "14.1", 77))).body
    assert [stand.agent.held(PHONES[form]) is None for form in (plain, packed)] == [False, True]


async def test_a_changed_policy_of_the_uems_is_told_from_a_wrong_key_here_too(make_enforced: MakeEnforced) -> None:
    """By Status 143, to the held Ping and to what comes after it; both documents are joined anew."""
    stand, _ = await make_enforced(policy=None)
    await stand.agent.put(PHONE, State.ALLOWED, policy=POLICY)
    device, pinging = await stand.device(), await stand.device()
    old = await provision(device)
    await held_ping(stand, pinging, old)
    await stand.agent.put(PHONE, State.ALLOWED, policy=Policy(min_device_password_length=16))
    for told in (await pinging.response(), await device.ask(plain("FolderSync", "14.1", old))):
        assert (told.status, b"\x03143\x00" in told.body) == (449, True)
    offered = await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS))
    assert offered.policy is not None
    assert offered.policy.document == msgspec.structs.replace(DEMANDED, min_device_password_length=16)
    assert (await device.ask(plain("FolderSync", "14.1", await provision(device)))).body == b"served"


async def test_a_provisioned_device_need_not_send_its_key_with_a_ping(make_enforced: MakeEnforced) -> None:
    """The backend gets its own all the same; until it has given one, the gateway says so itself."""
    stand, backend = await make_enforced()
    device = await stand.device()
    temporary = key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    assert (await device.ask(plain("Ping", "14.1", None))).status == 449
    assert stand.backend.seen == []
    key_in(await say(device, plain, "14.1", Acknowledgement(EAS_WBXML, temporary, 1), temporary))
    assert (await device.ask(plain("Ping", "14.1", None))).body == b"served"
    assert stand.backend.seen[-1].query.policy_key == backend.key


async def test_what_a_device_says_of_itself_is_told_to_the_agent(make_enforced: MakeEnforced) -> None:
    """With the document that it gets, or the directive."""
    stand, backend = await make_enforced()
    device = await stand.device()
    key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    await until(lambda: len(stand.agent.described) == 1)
    backend.wipe = "device"
    other = DeviceInformation(model="iPhone10C1", os="iOS 18.0")
    assert (await say(device, plain, "14.1", Ask(EAS_WBXML, other))).remote_wipe
    await until(lambda: len(stand.agent.described) == 2)
    assert [(one.key, one.information) for one in stand.agent.described] == [(PHONE, SAYS), (PHONE, other)]


async def test_a_modern_device_must_say_what_it_is_before_the_backend_is_asked(make_enforced: MakeEnforced) -> None:
    """As without such a backend."""
    stand, backend = await make_enforced()
    device = await stand.device()
    assert await say(device, plain, "14.1", Ask(EAS_WBXML)) == Response(165)
    assert backend.heard == []
    assert (await say(device, plain, "14.0", Ask(EAS_WBXML))).status == 1


async def test_a_client_that_keys_its_query_provisions_with_both(make_enforced: MakeEnforced) -> None:
    """There are some that have the temporary key in a parameter of phase 2 and in no header."""
    stand, backend = await make_enforced()
    device = await stand.device()
    temporary = key_in(await say(device, plain, "14.1", Ask(EAS_WBXML, SAYS)))
    theirs = backend.temporary
    body = encode_request(Acknowledgement(EAS_WBXML, temporary, 1))
    request = plain("Provision", "14.1", None, body).replace(b"&DeviceType", b"&PolicyKey=%d&DeviceType" % temporary)
    key_in(decode_response((await device.ask(request)).body))
    assert f"PolicyKey={theirs}&" in stand.backend.provisions[-1].target
    assert str(temporary) not in stand.backend.provisions[-1].target


async def test_nothing_of_the_backends_document_is_lost(make_enforced: MakeEnforced) -> None:
    """What the gateway does not know stands in the joint document as it came."""
    stand, backend = await make_enforced()
    device = await stand.device()
    foreign = element(PROVISION, "Hash", "of a later version")

    async def demand_more(turn: Turn) -> None:
        whole = document(DEMANDED, "14.1")
        more = Element(whole.page, whole.token, (*whole.content, foreign))
        await turn.ok(encode_response(Response(policy=PolicyAnswer(EAS_WBXML, 1, 77, more)), "14.1"))

    backend.fault = demand_more
    answer = await device.ask(plain("Provision", "14.1", 0, encode_request(Ask(EAS_WBXML, SAYS))))
    offered = decode_response(answer.body, as_sent=True)
    assert offered.policy is not None
    assert isinstance(offered.policy.document, Element)
    assert read_document(offered.policy.document) == BOTH
    assert offered.policy.document.content[-1] == foreign


async def test_another_kind_of_document_is_refused_without_asking_the_backend(make_enforced: MakeEnforced) -> None:
    """As without such a backend."""
    stand, backend = await make_enforced()
    device = await stand.device()
    other = await say(device, plain, "14.1", Ask(WAP_XML, SAYS))
    assert other.policy is not None
    assert other.policy.status == 3
    assert backend.heard == []
