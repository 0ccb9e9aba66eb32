"""What is sent and looked at where a device is to be wiped."""

import asyncio

from sentry_runtime.devices.record import DeviceKey, WipeMark
from sentry_runtime.eas.provision import Request, Response, WipeAcknowledgement, decode_response, encode_request
from tests.gateway.stand import PHONE, Device, Stand, Turn, basic, post, until

WRONG = basic(password="wr0ng-pa55word")
DONE, FAILED = encode_request(WipeAcknowledgement(1)), encode_request(WipeAcknowledgement(2))
HANDED_OUT, UNVERIFIED, VERIFIED = WipeMark.HANDED_OUT, WipeMark.UNVERIFIED, WipeMark.VERIFIED


async def refuse(turn: Turn) -> None:
    """A backend that knows another password."""
    await turn.body()
    await turn.ok(status="401 Unauthorized", extra='WWW-Authenticate: basic realm="SOGo"\r\n')


async def take(turn: Turn) -> None:
    """A backend that knows the password."""
    await turn.body()
    await turn.ok()


async def say(device: Device, request: bytes) -> Response:
    """Send a Provision and read the answer."""
    answer = await device.ask(request)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/vnd.ms-sync.wbxml")
    return decode_response(answer.body)


def provision(body: bytes | Request, version: str = "14.1", authorization: str = WRONG) -> bytes:
    """A Provision by whoever names the device and the user."""
    data = body if isinstance(body, bytes) else encode_request(body)
    return post("Provision", data, version=version, authorization=authorization)


def marks(stand: Stand, key: DeviceKey = PHONE) -> set[WipeMark]:
    """What is kept of the order."""
    record = stand.agent.get(key)
    assert record is not None
    assert record.wipe is not None
    return set(record.wipe.marks)


async def marked(stand: Stand, *expected: WipeMark, key: DeviceKey = PHONE) -> None:
    """Until exactly these marks are kept."""
    await until(lambda: marks(stand, key) == set(expected))


async def heard(stand: Stand, device: Device, status: int = 449) -> None:
    """Until the worker knows what the list says: it tells by how a FolderSync of 12.1 is answered."""
    async with asyncio.timeout(10):
        while (await device.ask(post(version="12.1"))).status != status:
            pass
