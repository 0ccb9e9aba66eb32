"""Where fuzzing begins: well-formed and hostile examples for each target."""

from sentry_runtime.eas import provision
from sentry_runtime.eas.codepages import PING
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.status import status_body
from sentry_runtime.eas.wbxml import element, encode
from tests.gateway.test_smuggling import CORPUS

MOBILESYNC = (
    b'<?xml version="1.0" encoding="utf-8"?>'
    b'<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/mobilesync/requestschema/2006"><Request>'
    b"<EMailAddress>anna@lab.test</EMailAddress><AcceptableResponseSchema>"
    b"http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006"
    b"</AcceptableResponseSchema></Request></Autodiscover>"
)


def _documents() -> list[bytes]:
    """WBXML: statuses, a Ping with folders, Provision in both directions."""
    commands = ("Sync", "FolderSync", "Ping", "Settings", "SendMail", "Provision", "MeetingResponse", "Find")
    statuses = [body for command in commands if (body := status_body(command, 129)) is not None]
    ping = element(PING, "Ping", element(PING, "HeartbeatInterval", "480"), element(PING, "Folders", b"\x01\x02"))
    return [*statuses, encode(ping), *_provisions()]


def _provisions() -> list[bytes]:
    device = DeviceInformation(model="iPhone10C1", imei="490154203237518", os="iOS 18.1")
    requests = (
        provision.Ask(provision.EAS_WBXML, device),
        provision.Ask(),
        provision.Acknowledgement(provision.EAS_WBXML, 1307199584, 1),
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


SEEDS: dict[str, list[bytes]] = {
    "head": list(CORPUS.values()),
    "query": [
        b"Cmd=FolderSync&User=anna&DeviceId=PHONE1&DeviceType=iPhone",
        b"Cmd=Sync&User=LAB%5Canna&DeviceId=Appl87025CNUA4S&DeviceType=iPhone&CollectionId=5%3A1&SaveInSent=T",
        b"jAAJBAp2MTQwRGV2aWNlAApTbWFydFBob25l",  # the example of MS-ASHTTP 2.2.1.1.1.1
        b"jRMJBBAAAQIDBAUGBwgJCgsMDQ4PBDoAAAAGaVBob25lBwEB",
        b"jRMJBAZQSE9ORTEAB2FuZHJvaWQIBGFubmE%3D",
    ],
    "wbxml": _documents(),
    "provision": _provisions(),
    "chunks": [
        b"3\r\nabc\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"00000a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\nnext",
        b"3;x=y\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX-Note: a\r\n\r\n",
    ],
    "autodiscover": [MOBILESYNC, MOBILESYNC.replace(b"<Request>", b"<!DOCTYPE a><Request>"), b"<a/>"],
}
