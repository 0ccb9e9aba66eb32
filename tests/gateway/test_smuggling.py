"""Requests that two servers could read in two ways: each is refused, nothing of it is forwarded, and one line says so."""

import pytest

from sentry_runtime.devices.record import State
from tests.gateway.conftest import MakeStand
from tests.gateway.stand import PHONE, Stand, basic, post
from tests.gateway.test_balancers import PLAIN, behind, connect

TARGET = "/Microsoft-Server-ActiveSync?Cmd=FolderSync&User=anna&DeviceId=PHONE1&DeviceType=iPhone"
AUTHORIZATION = f"Authorization: {basic()}\r\n"
HOST = "Host: mail.lab.test\r\n"
START = f"POST {TARGET} HTTP/1.1\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"


def head(*fields: str, start: str = START) -> bytes:
    """A head of these fields with credentials."""
    return (start + "".join(fields) + AUTHORIZATION + "\r\n").encode("latin-1")


CORPUS: dict[str, bytes] = {
    "no Host": head(),
    "two Hosts": head(HOST, "Host: other\r\n"),
    "two equal Hosts": head(HOST, HOST),
    "empty Host": head("Host:\r\n"),
    "Host with a path": head("Host: a/b\r\n"),
    "Host list": head("Host: a, b\r\n"),
    "Host in the absolute form and in a field": head(
        "Host: other\r\n", start=f"POST http://mail.lab.test{TARGET} HTTP/1.1\r\n"
    ),
    "HTTP/1.0 without Host": head(start=f"POST {TARGET} HTTP/1.0\r\n"),
    "Host with credentials": head("Host: a@b\r\n"),
    "absolute form": head(HOST, start=f"POST https://mail.lab.test{TARGET} HTTP/1.1\r\n"),
    "authority form": head(HOST, start="CONNECT mail.lab.test:443 HTTP/1.1\r\n"),
    "asterisk form": head(HOST, start="OPTIONS * HTTP/1.1\r\n"),
    "Content-Length and Transfer-Encoding": head(HOST, "Content-Length: 5\r\n", CHUNKED) + b"0\r\n\r\n",
    "Transfer-Encoding and Content-Length": head(HOST, CHUNKED, "Content-Length: 5\r\n") + b"0\r\n\r\n",
    "two Content-Lengths": head(HOST, "Content-Length: 3\r\n", "Content-Length: 5\r\n") + b"abcde",
    "two equal Content-Lengths": head(HOST, "Content-Length: 3\r\n", "Content-Length: 3\r\n") + b"abc",
    "Content-Length list": head(HOST, "Content-Length: 3, 3\r\n") + b"abc",
    "Content-Length with a parameter": head(HOST, "Content-Length: 3;q=1\r\n") + b"abc",
    "Content-Length in digits of another script": head(HOST, "Content-Length: \xb3\r\n") + b"abc",
    "Content-Length with a sign": head(HOST, "Content-Length: +3\r\n") + b"abc",
    "negative Content-Length": head(HOST, "Content-Length: -1\r\n"),
    "hexadecimal Content-Length": head(HOST, "Content-Length: 0x3\r\n") + b"abc",
    "empty Content-Length": head(HOST, "Content-Length:\r\n"),
    "Content-Length beyond integers": head(HOST, "Content-Length: 99999999999999999999\r\n"),
    "gzip, chunked": head(HOST, "Transfer-Encoding: gzip, chunked\r\n") + b"0\r\n\r\n",
    "chunked, chunked": head(HOST, "Transfer-Encoding: chunked, chunked\r\n") + b"0\r\n\r\n",
    "two Transfer-Encodings": head(HOST, CHUNKED, "Transfer-Encoding: identity\r\n") + b"0\r\n\r\n",
    "identity": head(HOST, "Transfer-Encoding: identity\r\n"),
    "xchunked": head(HOST, "Transfer-Encoding: xchunked\r\n") + b"0\r\n\r\n",
    "chunked with a comma": head(HOST, "Transfer-Encoding: chunked,\r\n") + b"0\r\n\r\n",
    "a comma before chunked": head(HOST, "Transfer-Encoding: , chunked\r\n") + b"0\r\n\r\n",
    "chunked, gzip": head(HOST, "Transfer-Encoding: chunked, gzip\r\n") + b"0\r\n\r\n",
    "chunked in quotes": head(HOST, 'Transfer-Encoding: "chunked"\r\n') + b"0\r\n\r\n",
    "chunked with a parameter": head(HOST, "Transfer-Encoding: chunked;q=1\r\n") + b"0\r\n\r\n",
    "chunked behind a vertical tab": head(HOST, "Transfer-Encoding: \x0bchunked\r\n") + b"0\r\n\r\n",
    "space before the colon": head(HOST, "Transfer-Encoding : chunked\r\n") + b"0\r\n\r\n",
    "tab before the colon": head(HOST, "Content-Length\t: 3\r\n") + b"abc",
    "HTTP/1.0 with chunked": head(HOST, CHUNKED, start=f"POST {TARGET} HTTP/1.0\r\n") + b"0\r\n\r\n",
    "HTTP/0.9": f"POST {TARGET}\r\n\r\n".encode(),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": head(HOST, start=f"POST {TARGET} HTTP/1.2\r\n"),
    "lower-case version": head(HOST, start=f"POST {TARGET} http/1.1\r\n"),
    "bare LF ends the head": head(HOST).replace(b"\r\n", b"\n"),
    "bare LF ends one line": (START + "Host: a\n" + AUTHORIZATION + "\r\n").encode(),
    "bare CR ends one line": (START + "Host: a\r" + AUTHORIZATION + "\r\n").encode(),
    "bare CR in a value": head(HOST, "X-Note: a\rb\r\n"),
    "folded line": head(HOST, "X-Note: a\r\n b\r\n"),
    "folded Transfer-Encoding": head(HOST, "Transfer-Encoding:\r\n chunked\r\n") + b"0\r\n\r\n",
    "folded first line": head(" Host: a\r\n"),
    "NUL in a value": head(HOST, "X-Note: a\x00b\r\n"),
    "control character in a value": head(HOST, "X-Note: a\x01b\r\n"),
    "DEL in a value": head(HOST, "X-Note: a\x7fb\r\n"),
    "line without a colon": head(HOST, "Nonsense\r\n"),
    "empty name": head(HOST, ": a\r\n"),
    "name with a space": head(HOST, "X Note: a\r\n"),
    "name with a control character": head(HOST, "X\x01: a\r\n"),
    "name with a bracket": head(HOST, "X(Note): a\r\n"),
    "method that is no token": head(HOST, start=f"PO(ST {TARGET} HTTP/1.1\r\n"),
    "lower-case method": head(HOST, start=f"post {TARGET} HTTP/1.1\r\n"),
    "two spaces behind the method": head(HOST, start=f"POST  {TARGET} HTTP/1.1\r\n"),
    "space in the target": head(HOST, start=f"POST {TARGET} x HTTP/1.1\r\n"),
    "tab in the start line": head(HOST, start=f"POST\t{TARGET} HTTP/1.1\r\n"),
    "Authorization taken out by Connection": head(HOST, "Connection: Authorization\r\n"),
    "a field named by the second Connection": head(HOST, "Connection: close\r\n", "Connection: te, x-note\r\n"),
    "two Authorizations": head(HOST, f"Authorization: {basic('bert')}\r\n"),
    "two protocol versions": head(HOST, "MS-ASProtocolVersion: 14.1\r\n", "MS-ASProtocolVersion: 2.5\r\n"),
    "double slash": head(HOST, start=f"POST /{TARGET} HTTP/1.1\r\n"),
    "dot segment": head(HOST, start=f"POST /.{TARGET} HTTP/1.1\r\n"),
    "parent segment": head(HOST, start=f"POST /owa/..{TARGET} HTTP/1.1\r\n"),
    "encoded dot": head(HOST, start=f"POST /owa/%2e%2e{TARGET} HTTP/1.1\r\n"),
    "encoded slash": head(HOST, start=f"POST /owa%2f..{TARGET} HTTP/1.1\r\n"),
    "encoded letter": head(HOST, start=f"POST {TARGET.replace('Server', 'S%65rver')} HTTP/1.1\r\n"),
    "path parameter": head(HOST, start=f"POST {TARGET.replace('?', ';x=y?')} HTTP/1.1\r\n"),
    "backslash": head(HOST, start=f"POST {TARGET.replace('/M', chr(92) + 'M')} HTTP/1.1\r\n"),
    "not ASCII in the path": head(HOST, start=f"POST /\xe9{TARGET} HTTP/1.1\r\n"),
    "fragment": head(HOST, start=f"POST {TARGET}#x HTTP/1.1\r\n"),
    "chunk extension": head(HOST, CHUNKED) + b"3;x=y\r\nabc\r\n0\r\n\r\n",
    "chunk size with a sign": head(HOST, CHUNKED) + b"+3\r\nabc\r\n0\r\n\r\n",
    "chunk size with 0x": head(HOST, CHUNKED) + b"0x3\r\nabc\r\n0\r\n\r\n",
    "chunk size with a space": head(HOST, CHUNKED) + b"3 \r\nabc\r\n0\r\n\r\n",
    "chunk size beyond integers": head(HOST, CHUNKED) + b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "empty chunk size": head(HOST, CHUNKED) + b"\r\nabc\r\n0\r\n\r\n",
    "bare LF behind a chunk size": head(HOST, CHUNKED) + b"3\nabc\r\n0\r\n\r\n",
    "bare LF behind a chunk": head(HOST, CHUNKED) + b"3\r\nabc\n0\r\n\r\n",
    "chunk longer than its size": head(HOST, CHUNKED) + b"3\r\nabcdef\r\n0\r\n\r\n",
    "trailer": head(HOST, CHUNKED) + b"0\r\nX-Note: a\r\n\r\n",
    "device named twice": head(HOST, start=f"POST {TARGET}&DeviceId=PHONE2 HTTP/1.1\r\n"),
    "device named twice in another case": head(HOST, start=f"POST {TARGET}&deviceid=PHONE2 HTTP/1.1\r\n"),
    "device named behind a second question mark": head(HOST, start=f"POST {TARGET}?Cmd=Sync HTTP/1.1\r\n"),
    "device named behind a semicolon": head(HOST, start=f"POST {TARGET};DeviceId=PHONE2 HTTP/1.1\r\n"),
    "device as an array": head(HOST, start=f"POST {TARGET}&DeviceId[]=PHONE2 HTTP/1.1\r\n"),
    "no query": head(HOST, start="POST /Microsoft-Server-ActiveSync HTTP/1.1\r\n"),
    "blob of garbage": head(HOST, start="POST /Microsoft-Server-ActiveSync?AAAA HTTP/1.1\r\n"),
}


async def test_every_form_of_the_corpus_is_refused_with_one_line_and_not_forwarded(stand: Stand) -> None:
    """400, the connection ends, and the backend never hears of it; an ordinary request still passes afterwards."""
    await stand.agent.put(PHONE, State.ALLOWED)
    for number, (name, data) in enumerate(CORPUS.items(), 1):
        device = await stand.device()
        response = await device.ask(data)
        assert (name, response.status, response.headers.get("connection")) == (name, 400, "close")
        assert (name, await device.ended()) == (name, b"")
        lines = await stand.audit.count(number)
        assert (name, len(lines), lines[-1]["event"], lines[-1]["status"]) == (name, number, "refused", 400)
    assert stand.backend.connections == 0
    assert len(CORPUS) >= 80
    device = await stand.device()
    assert (await device.ask(post())).status == 200


async def test_on_a_balancers_connection_that_has_served_others_it_is_no_different(make_stand: MakeStand) -> None:
    """There a request that is read in two ways would be answered to somebody else: each is refused, the connection ends, and the
    backend's, which is open, sees nothing of it."""
    stand = await behind(make_stand, PLAIN, throttle=None)
    await stand.agent.put(PHONE, State.ALLOWED)
    for number, (name, data) in enumerate(CORPUS.items(), 1):
        device = await connect(stand, tls=False)
        assert (await device.ask(post())).status == 200
        await device.send(data + post("Sync"))
        response = await device.response()
        assert (name, response.status, response.headers.get("connection")) == (name, 400, "close")
        assert (name, await device.ended()) == (name, b"")
        assert (name, len(stand.backend.seen)) == (name, number)
    assert {seen.query.command for seen in stand.backend.seen} == {"FolderSync"}


async def test_what_follows_a_refused_request_is_not_served(stand: Stand) -> None:
    """The second request hides behind the first: neither is forwarded, and there is one answer."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    await device.send(CORPUS["Content-Length and Transfer-Encoding"] + post())
    assert (await device.response()).status == 400
    assert await device.ended() == b""
    assert stand.backend.connections == 0


async def test_a_chunked_body_that_breaks_on_the_way_is_never_ended_for_the_backend(stand: Stand) -> None:
    """The backend has seen the beginning; it gets no last chunk but a cut connection."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    await device.send(head(HOST, CHUNKED) + b"3\r\nabc\r\n")
    await stand.backend.wait_seen()
    await device.send(b"nonsense\r\n")
    response = await device.response()
    assert (response.status, await device.ended()) == (400, b"")
    await stand.backend.lost.wait()
    assert not stand.backend.seen[0].complete


@pytest.mark.parametrize(("size", "status"), [(16_000, 200), (17_000, 431), (300_000, 431)])
async def test_a_head_is_bounded_in_size(stand: Stand, size: int, status: int) -> None:
    """16 KiB by default; more is 431 and a close."""
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()
    response = await device.ask(post(extra=f"Cookie: {'x' * (size - 500)}\r\n"))
    assert response.status == status
    assert len(stand.backend.seen) == (status == 200)


async def test_forged_identity_and_hop_headers_do_not_reach_the_backend(stand: Stand) -> None:
    """Whatever a client says of who it is or where it comes from is taken out; the rest passes."""
    await stand.agent.put(PHONE, State.ALLOWED)
    forged = (
        *("X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "X-Client-Cert", "X-Client-Cert-DN"),
        *("SSL-Client-Cert", "X-SSL-Client-Verify", "X-MS-Client-Principal", "X-MS-Proxy", "X-WebObjects-Remote-User"),
        *("Remote-User", "X-Remote-User", "X-CommonAccessToken", "msExchProxyUri", "X_Forwarded_For", "Via"),
        *("Proxy-Authorization", "Keep-Alive", "TE", "Trailer", "Proxy-Connection"),
    )
    extra = "".join(f"{name}: forged\r\n" for name in forged) + "Connection: keep-alive, TE\r\n"
    device = await stand.device()
    assert (await device.ask(post(extra=extra + "X-MS-PolicyKey: 7\r\nCookie: forged\r\n"))).status == 200
    (seen,) = stand.backend.seen
    assert "forged" not in [value for _, value in seen.headers]
    assert seen.values("X-Forwarded-For") == ["127.0.0.1"]
    assert seen.value("X-MS-PolicyKey") == "7"
    assert seen.values("Connection") == []
