"""Autodiscover over real sockets: the gateway's own URL for who proves their credentials, and nothing at the backend but that."""

import json
from typing import Any

import pytest

from sentry_runtime.eas.autodiscover import MOBILESYNC, REQUEST_BYTES
from tests.gateway.conftest import MakeStand
from tests.gateway.stand import PASSWORD, Response, Stand, Turn, basic, post

REQUEST = "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/requestschema/2006"
OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
URL = "https://gw.lab.test/Microsoft-Server-ActiveSync"
CODE = b"<ErrorCode>%d</ErrorCode>"


@pytest.fixture
async def stand(make_stand: MakeStand) -> Stand:
    """A gateway that serves Autodiscover."""
    return await make_stand(external_host="gw.lab.test")


def document(address: str = "anna@lab.test", schema: str = MOBILESYNC, before: str = "") -> bytes:
    """A request document."""
    return (
        f'{before}<Autodiscover xmlns="{REQUEST}"><Request><EMailAddress>{address}</EMailAddress>'
        f"<AcceptableResponseSchema>{schema}</AcceptableResponseSchema></Request></Autodiscover>"
    ).encode()


def ask(
    body: bytes,
    *extra: str,
    path: str = "/autodiscover/autodiscover.xml",
    media: str = "text/xml",
    authorization: str | None = basic(),
    framed: bool = False,
) -> bytes:
    """A request as clients send it; `framed`: the body comes with a framing of its own, named in `extra`."""
    lines = [f"POST {path} HTTP/1.1", "Host: autodiscover.lab.test", f"Content-Type: {media}", *extra]
    if authorization is not None:
        lines.append(f"Authorization: {authorization}")
    if not framed:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def get(query: str, path: str = "/autodiscover/autodiscover.json") -> bytes:
    """The JSON form."""
    return f"GET {path}?{query} HTTP/1.1\r\nHost: autodiscover.lab.test\r\n\r\n".encode()


async def answered(stand: Stand, request: bytes) -> tuple[Response, dict[str, Any]]:
    """The response to the first request, and its outcome's line."""
    device = await stand.device()
    response = await device.ask(request)
    (outcome,) = await stand.audit.outcomes(1)
    return response, outcome


@pytest.mark.parametrize(
    "request_bytes",
    [
        ask(document()),
        # Android: charset in the type, its own path spelling.
        ask(
            document(before="<?xml version='1.0' encoding='UTF-8' standalone='no' ?>"),
            path="/Autodiscover/Autodiscover.xml",
            media='text/xml; charset="utf-8"',
        ),
        # TbSync: XMLHttpRequest's type with a charset, an Accept and a declaration with a line end.
        ask(
            document(before='<?xml version="1.0" encoding="utf-8"?>\r\n'),
            "User-Agent: Thunderbird ActiveSync",
            "Accept: */*",
            media="text/xml;charset=UTF-8",
        ),
        ask(
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(document()), document()),
            "Transfer-Encoding: chunked",
            framed=True,
        ),
    ],
)
async def test_who_proves_their_credentials_gets_the_gateways_url(stand: Stand, request_bytes: bytes) -> None:
    """The backend sees one OPTIONS with the credentials, the agent nothing; two audit lines without the address."""
    response, outcome = await answered(stand, request_bytes)
    assert (response.status, response.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert response.body.count(URL.encode()) == 2
    assert b"<EMailAddress>anna@lab.test</EMailAddress>" in response.body
    (probe,) = stand.backend.probes
    assert (probe.value("Authorization"), probe.body) == (basic(), b"")
    assert stand.backend.seen == []
    assert stand.agent.asked == []
    assert (outcome["action"], outcome["reasons"], outcome["status"]) == ("allow", ["autodiscover"], 200)
    assert (outcome["principal"], outcome["command"]) == ("anna@lab.test", "Autodiscover")
    assert [line["event"] for line in stand.audit.lines()] == ["request", "outcome"]


async def test_another_address_than_the_callers_is_answered_and_not_written_down(stand: Stand) -> None:
    """The answer holds nothing but our URL and what was asked."""
    response, _ = await answered(stand, ask(document("shared&amp;box@other.test")))
    assert b"<EMailAddress>shared&amp;box@other.test</EMailAddress>" in response.body
    raw = b"".join(stand.audit.raw)
    assert b"anna@lab.test" in raw
    assert not [one for one in (b"box", b"other.test", PASSWORD.encode()) if one in raw]


async def test_credentials_are_proved_each_time(stand: Stand) -> None:
    """A yes of the backend is not kept, nor a no; the connection goes on."""
    device = await stand.device()
    assert (await device.ask(ask(document()))).status == 200

    async def refuse(turn: Turn) -> None:
        await turn.ok(status="401 Unauthorized")

    yes, stand.backend.probe = stand.backend.probe, refuse
    response = await device.ask(ask(document()))
    assert (response.status, response.body) == (401, b"")
    assert response.headers["www-authenticate"].startswith("Basic realm=")
    stand.backend.probe = yes
    assert (await device.ask(ask(document()))).status == 200
    assert len(stand.backend.probes) == 3
    told = [(one["action"], one["reasons"]) for one in await stand.audit.outcomes(3)]
    assert told[1] == ("deny", ["credentials_refused"])


async def test_without_credentials_there_is_a_challenge_and_no_probe(stand: Stand) -> None:
    """Also for a body that is not there yet."""
    device = await stand.device()
    response = await device.ask(ask(document(), authorization=None))
    assert response.status == 401
    assert response.headers["www-authenticate"].startswith("Basic realm=")
    assert (await device.ask(ask(document()))).status == 200
    assert len(stand.backend.probes) == 1


async def test_a_backend_that_is_down_is_no_answer(stand: Stand) -> None:
    """503: the client comes back."""
    await stand.backend.stop()
    response, outcome = await answered(stand, ask(document()))
    assert (response.status, outcome["action"]) == (503, "fail")
    assert "retry-after" in response.headers


LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        (document(schema=OUTLOOK), 601, "autodiscover_schema"),
        (document()[:-1], 600, "autodiscover_malformed"),
        (b"", 600, "autodiscover_malformed"),
        (document("anna"), 600, "autodiscover_incomplete"),
        (document("&l9;@x", before=f'<!DOCTYPE a [<!ENTITY l0 "lol">{LAUGHS}]>'), 600, "autodiscover_dtd"),
        (
            document("&x;@lab.test", before='<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>'),
            600,
            "autodiscover_dtd",
        ),
    ],
)
async def test_what_cannot_be_answered_gets_an_error_and_costs_the_backend_nothing(
    stand: Stand, body: bytes, code: int, reason: str
) -> None:
    """200 with the error's document; no probe, so no stranger can make us knock at the backend with junk."""
    response, outcome = await answered(stand, ask(body))
    assert response.status == 200
    assert CODE % code in response.body
    assert b"gw.lab.test" not in response.body
    assert (outcome["action"], outcome["reasons"]) == ("deny", [reason])
    assert stand.backend.connections == 0


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason"),
    [
        (ask(b"x" * (REQUEST_BYTES + 1)), 413, "autodiscover_too_large"),
        (
            ask(
                b"%x\r\n%s\r\n" % (REQUEST_BYTES + 1, b" " * (REQUEST_BYTES + 1)),
                "Transfer-Encoding: chunked",
                framed=True,
            ),
            413,
            "autodiscover_too_large",
        ),
        (ask(document(), media="application/x-www-form-urlencoded"), 415, "media_type"),
        (ask(document(), "Content-Encoding: gzip"), 415, "media_type"),
        (get("", path="/autodiscover/autodiscover.xml"), 405, "method_not_allowed"),
        (ask(document(), path="/autodiscover/autodiscover.json"), 405, "method_not_allowed"),
        (ask(document(), path="/autodiscover/autodiscover.svc"), 404, "not_served"),
    ],
)
async def test_other_requests_are_refused_with_both_lines(
    stand: Stand, request_bytes: bytes, status: int, reason: str
) -> None:
    """Too large (announced or not), not XML, another method, another form; nothing reaches the backend."""
    response, outcome = await answered(stand, request_bytes)
    assert (response.status, response.body) == (status, b"")
    assert (outcome["action"], outcome["reasons"], outcome["status"]) == ("deny", [reason], status)
    assert stand.backend.connections == 0


async def test_a_body_in_pieces_and_one_that_waits_for_leave(stand: Stand) -> None:
    """.NET's clients send `Expect: 100-continue`; phones on poor links send a byte at a time."""
    device = await stand.device()
    head, _, body = ask(document(), "Expect: 100-continue").partition(b"\r\n\r\n")
    await device.send(head + b"\r\n\r\n")
    assert (await device.head())[0] == 100
    for part in (body[:1], body[1:50], body[50:]):
        await device.send(part)
    assert (await device.response()).status == 200
    assert (await device.ask(post())).status == 200  # the connection is in step


async def test_a_broken_body_is_refused(stand: Stand) -> None:
    """400, with both lines; the probe never happens."""
    device = await stand.device()
    await device.send(ask(b"", "Transfer-Encoding: chunked", framed=True))
    await stand.audit.count(1)  # the head is read; together with it the broken body would be one refusal
    response = await device.ask(b"zz\r\n")
    (outcome,) = await stand.audit.outcomes(1)
    assert (response.status, outcome["reasons"]) == (400, ["chunk_malformed"])
    assert stand.backend.connections == 0


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("Email=anna@lab.test&Protocol=ActiveSync&RedirectCount=1", "/autodiscover/autodiscover.json"),
        ("email=nobody%40lab.test&protocol=activesync", "/Autodiscover/AutoDiscover.json"),
    ],
)
async def test_the_json_form_needs_no_credentials_and_no_backend(stand: Stand, query: str, path: str) -> None:
    """It says the same to everybody."""
    response, outcome = await answered(stand, get(query, path))
    assert response.status == 200
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert json.loads(response.body) == {"Protocol": "ActiveSync", "Url": URL}
    assert (outcome["action"], outcome["reasons"]) == ("allow", ["autodiscover"])
    assert stand.backend.connections == 0
    assert not [raw for raw in stand.audit.raw if b"lab.test" in raw]


@pytest.mark.parametrize("query", ["Email=a&Protocol=Ews", "Email=a", "Protocol=ActiveSync&Protocol=Ews"])
async def test_other_protocols_are_an_error_in_json(stand: Stand, query: str) -> None:
    """400 with the code clients know."""
    response, outcome = await answered(stand, get(query))
    assert (response.status, json.loads(response.body)["ErrorCode"]) == (400, "InvalidProtocol")
    assert outcome["action"] == "deny"


async def test_without_a_name_autodiscover_is_not_served(make_stand: MakeStand) -> None:
    """404 for both forms."""
    stand = await make_stand()
    device = await stand.device()
    assert (await device.ask(ask(document()))).status == 404
    assert (await device.ask(get("Protocol=ActiveSync"))).status == 404
    assert stand.backend.connections == 0
