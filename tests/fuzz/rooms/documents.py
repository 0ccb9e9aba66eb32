"""Documents that devices send: WBXML, Provision with what the gateway answers to it, Settings, Autodiscover."""

import contextlib
from xml.etree import ElementTree

import msgspec

from sentry_runtime.devices.record import DeviceKey, Wipe, WipeKind
from sentry_runtime.eas import autodiscover, autodiscover_json, device_information, provision, wbxml
from sentry_runtime.eas.codepages import PING, SETTINGS
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.status import stated, status_body
from sentry_runtime.eas.wbxml import element, encode
from sentry_runtime.gateway import autodiscover as answers
from sentry_runtime.gateway import overhear, provisioning, wipe
from sentry_runtime.gateway.enforce import Answer
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.uem import messages
from sentry_runtime.uem.api import Information
from tests.fuzz.target import Target, refused_in_order

KEYS = provisioning.Keys(temporary=1_307_199_584, final=7)
PROTOCOLS = ("", "2.5", "12.0", "14.1", "16.1")


def document(data: bytes) -> None:
    """A WBXML document."""
    with contextlib.suppress(wbxml.WbxmlError):
        root = wbxml.decode(data)
        assert wbxml.decode(wbxml.encode(root)) == root
        status = stated(data)
        assert status is None or 0 <= status <= 999


def provisions(data: bytes) -> None:
    """The body of a Provision: read and written again it is the same, from a device and from a backend."""
    with contextlib.suppress(provision.ProvisionError):
        request = provision.decode_request(data)
        assert provision.decode_request(provision.encode_request(request)) == request
    with contextlib.suppress(provision.ProvisionError):
        response = provision.decode_response(data)
        assert provision.decode_response(provision.encode_response(response, "16.1")) == response


def provisioned(data: bytes) -> None:
    """A device's Provision, and the gateway's answers to it: of a policy, and of both kinds of wipe."""
    for protocol in PROTOCOLS:
        claim = Claim(DeviceKey("PHONE", "anna"), (), "iPhone", "anna", "Provision", protocol, 0)
        reply = provisioning.reply(claim, provisioning.Terms(Policy(), KEYS), data)
        response = _response(reply.answer)
        assert response is None or not (response.remote_wipe or response.account_only_remote_wipe)
        assert not reply.granted or (response is not None and response.policy is not None and response.policy.key == 7)
        for kind in WipeKind:
            step = wipe.provisioned(claim, Wipe(kind=kind, order=1), data)
            response = _response(step.answer)
            handed = response is not None and (response.remote_wipe, response.account_only_remote_wipe)
            assert (step.reason in ("wipe_handed_out", "wipe_failed")) is (
                handed == (kind is WipeKind.DEVICE, kind is WipeKind.ACCOUNT)
            )


def _response(answer: Answer) -> provision.Response | None:
    """What a device reads of the gateway's answer."""
    assert answer.status in (200, 400, 403)
    if answer.status != 200:
        return None
    try:
        return provision.decode_response(answer.body)
    except provision.ProvisionError:
        wbxml.decode(answer.body)  # a block, in the words of the version
        return None


def settings(data: bytes) -> None:
    """A Settings request that is overheard, in one piece and in two; what it says is a message that the UEM takes."""
    found = device_information.in_settings(data)
    ear = overhear.Listener()
    for piece in (data[:100], data[100:]):
        ear.hear(piece)
    assert ear.understood() == (found if len(data) <= device_information.SETTINGS_BYTES else None)
    if found is None:
        return
    kept = device_information.cleaned(found)
    assert device_information.cleaned(kept) == kept
    told = Information(device_id="PHONE", principal="anna", information=kept)
    assert messages.decode(msgspec.json.encode(told), Information) == told


def discovery(data: bytes) -> None:
    """The document of an Autodiscover request, and the answer's."""
    reply = answers.of_document(data, "mail.lab.test")
    assert reply.reason.isidentifier()
    tree = ElementTree.fromstring(reply.answer.body)  # noqa: S314 - it is ours
    try:
        address = autodiscover.requested_address(data)
    except autodiscover.AutodiscoverError as error:
        refused_in_order(tree.findtext(".//{*}ErrorCode") == str(error.fault.value), error)
        return
    assert address.isprintable()
    assert address.count("@") == 1
    assert tree.findtext(".//{*}EMailAddress") == address
    assert tree.findtext(".//{*}Url") == "https://mail.lab.test/Microsoft-Server-ActiveSync"


def discovery_query(data: bytes) -> None:
    """The query of an Autodiscover request in JSON; of what was sent only letters and digits come back."""
    reply = answers.of_query(data, "mail.lab.test")
    assert reply.answer.body.isascii()
    assert set(msgspec.json.decode(reply.answer.body, type=dict[str, str])) in (
        {"Protocol", "Url"},
        {"ErrorCode", "ErrorMessage"},
    )
    assert len(reply.answer.body) < 200 + autodiscover_json.ECHO_CHARS
    assert (reply.action == "allow") is (reply.answer.status == 200)


MOBILESYNC = (
    b'<?xml version="1.0" encoding="utf-8"?>'
    b'<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/mobilesync/requestschema/2006"><Request>'
    b"<EMailAddress>anna@lab.test</EMailAddress><AcceptableResponseSchema>"
    b"http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006"
    b"</AcceptableResponseSchema></Request></Autodiscover>"
)
DEVICE = DeviceInformation(model="iPhone10C1", imei="490154203237518", os="iOS 18.1")


def _documents() -> list[bytes]:
    """WBXML: statuses, a Ping with folders, Provision in both directions."""
    commands = ("Sync", "FolderSync", "Ping", "Settings", "SendMail", "Provision", "MeetingResponse", "Find")
    statuses = [body for command in commands if (body := status_body(command, 129)) is not None]
    ping = element(PING, "Ping", element(PING, "HeartbeatInterval", "480"), element(PING, "Folders", b"\x01\x02"))
    return [*statuses, encode(ping), *_provisions()]


def _provisions() -> list[bytes]:
    requests = (
        provision.Ask(provision.EAS_WBXML, DEVICE),
        provision.Ask(provision.WAP_XML),
        provision.Ask(),
        provision.Acknowledgement(provision.EAS_WBXML, KEYS.temporary, 1),
        provision.Acknowledgement(provision.WAP_XML, None, 2),
        provision.WipeAcknowledgement(1),
        provision.WipeAcknowledgement(2, account_only=True),
    )
    policy = Policy(device_password_enabled=True, approved_application_list=("00" * 20,))
    answer = provision.policy_answer(policy, provision.EAS_WBXML, 1)
    responses = (provision.Response(policy=answer, device_status=1), provision.Response(remote_wipe=True))
    return [
        *(provision.encode_request(request) for request in requests),
        *(provision.encode_response(response, "16.1") for response in responses),
    ]


def _settings() -> list[bytes]:
    said = device_information.write(DEVICE)
    bare = element(SETTINGS, "DeviceInformation", element(SETTINGS, "Model", " a\u0300\u200b\tb "))
    oof = element(SETTINGS, "Oof", element(SETTINGS, "Get", element(SETTINGS, "BodyType", "Text")))
    long = device_information.write(
        DeviceInformation(model="x" * 200, friendly_name="\u00e4" * 65, os="a" * 63 + "  b")
    )
    parts = ((said,), (bare,), (oof, said), (long,), (oof,))
    return [encode(element(SETTINGS, "Settings", *each)) for each in parts]


TARGETS = {
    "wbxml": Target(document, _documents()),
    "provision": Target(provisions, _provisions()),
    "provisioned": Target(provisioned, _provisions()),
    "settings": Target(settings, _settings()),
    "autodiscover": Target(
        discovery,
        [
            MOBILESYNC,
            MOBILESYNC.replace(b"<Request>", b"<!DOCTYPE a><Request>"),
            MOBILESYNC.replace(b"anna@", "&lt;&#228;\U0001f600&amp;@".encode()),
            b"<a/>",
        ],
    ),
    "autodiscover_json": Target(
        discovery_query,
        [
            b"Email=anna%40lab.test&Protocol=ActiveSync&RedirectCount=1",
            b"protocol=Autodiscoverv1",
            b"Protocol=%3Cb%3E%C3%A4",
            b"Protocol=%FF",
            b"Protocol=a&protocol=b",
            b"",
        ],
    ),
}
