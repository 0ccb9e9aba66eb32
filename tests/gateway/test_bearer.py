"""Bearer tokens through the gateway: read for their name, judged by the backend."""

import base64
import json

import pytest

from sentry_runtime.devices.record import Reason, State
from tests.gateway.conftest import MakeStand
from tests.gateway.ntlm_server import Asked, no_canary
from tests.gateway.stand import PHONE, Stand, Turn, post
from tests.gateway.test_provisioning import set_gateway

FOLDER_SYNC = Asked(post("FolderSync", b"abc", authorization=None, user="anna"))


def token(**claims: str) -> str:
    """A token with these claims, whose signature nobody here looks at."""
    header, payload = (
        base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in ({"alg": "x"}, claims)
    )
    return f"Bearer {header.decode()}.{payload.decode()}.canary-signature"


ANNA = token(upn="Anna@Lab.Test", email="somebody@else.test")


@pytest.fixture
async def stand(make_stand: MakeStand) -> Stand:
    """A gateway whose site takes tokens."""
    stand = await make_stand(started=False)
    set_gateway(stand, authentication=("bearer", "basic"))
    await stand.start()
    return stand


async def test_first_contact_by_a_token_the_backend_accepts(stand: Stand) -> None:
    """The probe has the very token; so has the request, byte for byte. It is in no log."""
    stand.agent.answer = lambda ask: stand.agent.put(ask.key, State.ALLOWED)
    device = await stand.device()
    assert (await device.ask(FOLDER_SYNC(ANNA))).status == 200
    (ask,) = stand.agent.asked
    assert ask.key == PHONE
    (probe,), (seen,) = stand.backend.probes, stand.backend.seen
    assert probe.value("authorization") == seen.value("authorization") == ANNA
    request, outcome = await stand.audit.count(2)
    assert (request["id"], request["principal"]) == (outcome["id"], "anna@lab.test")
    no_canary(stand, ANNA.partition(" ")[2], "canary-signature")


async def test_a_token_the_backend_refuses_lets_nobody_in(stand: Stand) -> None:
    """On first contact nobody is asked; and of a known device the backend's own answer passes with its Bearer challenge."""

    async def refuse(turn: Turn) -> None:
        await turn.body()
        challenges = (
            'WWW-Authenticate: Bearer authorization_uri="https://login.test/"\r\nWWW-Authenticate: Negotiate\r\n'
        )
        await turn.ok(status="401 Unauthorized", extra=challenges)

    stand.backend.script = stand.backend.probe = refuse
    device = await stand.device()
    response = await device.ask(FOLDER_SYNC(token(upn="anna@lab.test")))
    assert (response.status, response.headers["www-authenticate"][:5]) == (401, "Basic")
    assert stand.agent.asked == []
    await stand.agent.put(PHONE, State.ALLOWED)
    await device.send(FOLDER_SYNC(ANNA))
    raw = await device.reader.readuntil(b"\r\n\r\n")
    offers = [line.partition(b": ")[2] for line in raw.split(b"\r\n") if line.lower().startswith(b"www-authenticate")]
    assert offers == [
        b'Bearer authorization_uri="https://login.test/"',
        b'Basic realm="ActiveSync", charset="UTF-8"',
    ]


async def test_a_known_device_is_judged_by_the_name_in_its_token(stand: Stand) -> None:
    """And `User` must agree with it."""
    await stand.agent.put(PHONE, State.BLOCKED, Reason.MANUAL)
    device = await stand.device()
    assert (await device.ask(FOLDER_SYNC(ANNA))).body.endswith(b"129\x00\x01\x01")
    assert (await device.ask(FOLDER_SYNC(token(upn="bert@lab.test")))).status == 403
    assert stand.backend.connections == 0


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        ("Bearer opaque", "token_opaque"),
        ("Bearer", "token_opaque"),
        (token(sub="1234"), "token_without_name"),
        (token(upn="a b"), "credentials_malformed"),
        ("Bearer a.!.b", "token_opaque"),
        ("Bearer a.aaaa.b", "token_malformed"),
        ("NTLM TlRMTVNTUAABAAAAAAAAAA==", "scheme_not_supported"),
    ],
)
async def test_a_token_that_names_nobody_is_refused(stand: Stand, authorization: str, reason: str) -> None:
    """The backend is not asked: nobody could be judged by it."""
    device = await stand.device()
    assert (await device.ask(FOLDER_SYNC(authorization))).status == 401
    assert (await stand.audit.outcomes(1))[0]["reasons"] == [reason]
    assert stand.backend.connections == 0


async def test_two_tokens_of_one_user_share_no_backend_connection(stand: Stand) -> None:
    """The old one may have been anybody's to present; a backend may bind what it knew of it to the connection."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    for authorization in (ANNA, ANNA, token(upn="anna@lab.test"), ANNA):
        assert (await device.ask(FOLDER_SYNC(authorization))).status == 200
    assert [seen.connection for seen in stand.backend.seen] == [1, 1, 2, 1]
