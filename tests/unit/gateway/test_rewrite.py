"""Heads written anew."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.gateway.head import HeadError, parse
from sentry_runtime.gateway.rewrite import probe_head, request_head, response_head
from sentry_runtime.settings import Backend, ClientTls

TLS = ClientTls(trust="/ca.pem")
BACKEND = Backend(name="mail", host="10.0.0.1", server_name="mail.lab.test", tls=TLS)


@pytest.mark.parametrize(
    ("backend", "host"),
    [
        (BACKEND, b"mail.lab.test"),
        (Backend(name="a", host="10.0.0.1", port=8443, tls=TLS), b"10.0.0.1:8443"),
        (Backend(name="a", host="10.0.0.1", port=80), b"10.0.0.1"),
        (Backend(name="a", host="10.0.0.1", port=443), b"10.0.0.1:443"),
        (Backend(name="a", host="2001:db8::1", tls=TLS), b"[2001:db8::1]"),
    ],
)
def test_the_host_is_the_backends(backend: Backend, host: bytes) -> None:
    """With its port where that is not the usual one."""
    data = probe_head(backend, b"Basic x", "192.0.2.1")
    assert b"\r\nHost: " + host + b"\r\n" in data


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["X-Forwarded-For", "Connection", "X-Note", "Keep-Alive", "X_Note", "TE", "Forwarded"]),
            st.text("abc, -X", max_size=12),
        ),
        max_size=8,
    )
)
def test_what_goes_out_is_one_request_that_we_would_take_ourselves(fields: list[tuple[str, str]]) -> None:
    """Whatever fields come in: one Host, our own address, nothing of the hop, the query unchanged."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    try:
        head = parse(f"POST /microsoft-server-activesync?a=%41&b HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    except HeadError:
        return
    again = parse(request_head(head, BACKEND, "192.0.2.1"))
    assert (again.path, again.query) == ("/Microsoft-Server-ActiveSync", b"a=%41&b")
    names = [name.lower() for name, _ in again.fields]
    assert names.count(b"host") == names.count(b"x-forwarded-for") == 1
    assert not {b"connection", b"keep-alive", b"te", b"forwarded", b"x_note"} & set(names)


def test_a_response_keeps_what_is_end_to_end_and_nothing_else() -> None:
    """Fields of the hop, those `Connection` names, sessions and what leads past the gateway go; the framing is ours."""
    fields = [
        (b"X-MS-RP", b"14.1"),
        (b"Connection", b"close, X-Hop"),
        (b"X-Hop", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"X-MS-Location", b"https://elsewhere"),
        (b"Alt-Svc", b"h3=:443"),
        (b"Set-Cookie", b"a=b"),
        (b"Set-Cookie", b"c=d"),
    ]
    data = response_head(200, b"OK", fields, None, chunked=True, close=False)
    assert data == (b"HTTP/1.1 200 OK\r\nX-MS-RP: 14.1\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_the_gateways_own_policy_key_is_not_forwarded() -> None:
    """Neither in the header nor in the base64 form."""
    query = b"jQkJBAZQSE9ORTEEAQIDBAZpUGhvbmU="
    head = parse(
        b"POST /Microsoft-Server-ActiveSync?" + query + b" HTTP/1.1\r\nHost: a\r\nX-MS-PolicyKey: 67305985\r\n\r\n"
    )
    sent = request_head(head, BACKEND, "192.0.2.1", policy_key=0)
    assert sent.startswith(b"POST /Microsoft-Server-ActiveSync?jQkJBAZQSE9ORTEEAAAAAAZpUGhvbmU= HTTP/1.1\r\n")
    assert b"PolicyKey" not in sent
    passed = request_head(head, BACKEND, "192.0.2.1")
    assert query in passed
    assert b"X-MS-PolicyKey: 67305985\r\n" in passed


def test_the_backends_own_policy_key_takes_the_place_of_the_gateways() -> None:
    """In the header of the plain form, in the base64 form itself; never in both."""
    packed = parse(b"POST /Microsoft-Server-ActiveSync?jQkJBAZQSE9ORTEABmlQaG9uZQ== HTTP/1.1\r\nHost: a\r\n\r\n")
    sent = request_head(packed, BACKEND, "192.0.2.1", policy_key=67305985)
    assert sent.startswith(b"POST /Microsoft-Server-ActiveSync?jQkJBAZQSE9ORTEEAQIDBAZpUGhvbmU= HTTP/1.1\r\n")
    assert b"PolicyKey" not in sent
    plain = b"POST /Microsoft-Server-ActiveSync?Cmd=Sync&DeviceId=A&DeviceType=B HTTP/1.1\r\nHost: a\r\n"
    for field in (b"", b"x-ms-policykey: 1\r\n"):
        sent = request_head(parse(plain + field + b"\r\n"), BACKEND, "192.0.2.1", policy_key=77)
        assert sent.lower().count(b"x-ms-policykey: ") == 1
        assert b"\r\nX-MS-PolicyKey: 77\r\n" in sent


FORGED = (
    *("Forwarded", "X-Forwarded-For", "X-Forwarded-User", "X-Forwarded-Client-Cert", "X-Real-IP", "True-Client-IP"),
    *(
        "X-Remote-User",
        "Remote-User",
        "Remote-Addr",
        "X-Remote-Addr",
        "REMOTE_USER",
        "X-User",
        "X-Username",
        "X-Auth-User",
    ),
    *("X-Authenticated-User", "X-WebAuth-User", "X-WebObjects-Remote-User", "SM_USER", "iv-user", "Client-Cert"),
    *("Client-Cert-Chain", "X-Client-Cert", "SSL-Client-Cert", "X-SSL-Client-S-DN", "X-Cert", "X-ARR-ClientCert"),
    *(
        "X-Amzn-Mtls-Clientcert",
        "X-Amzn-Oidc-Data",
        "X-Goog-Authenticated-User-Email",
        "Cf-Access-Authenticated-User-Email",
    ),
    *(
        "CF-Connecting-IP",
        "X-Azure-ClientIP",
        "X-Envoy-External-Address",
        "X-MS-Client-Principal-Name",
        "X-MS-Token-AAD-Id",
    ),
    *(
        "Impersonate-User",
        "X-Impersonate-User",
        "OIDC-Email",
        "Mellon-Name-Id",
        "Shib-Identity",
        "X-SAML-NameID",
        "Proxy",
    ),
    *("X-CommonAccessToken", "X-MS-Exchange-Organization-AuthAs", "X-AnchorMailbox", "X-Original-URL", "X-Rewrite-URL"),
    *("X-HTTP-Method-Override", "X-Principal", "X-Identity", "X-On-Behalf-Of"),
)
GENUINE = (
    *(
        "Accept",
        "Accept-Encoding",
        "Accept-Language",
        "Authorization",
        "Content-Type",
        "User-Agent",
        "MS-ASProtocolVersion",
    ),
    *(
        "MS-ASAcceptMultiPart",
        "MS-ASProtocolCommands",
        "X-MS-PolicyKey",
        "X-MS-RP",
        "X-MS-WL",
        "X-MS-NoPush",
        "If-Match",
    ),
    *("MS-ASDeviceType", "X-Device-Id", "X-OS-Version", "Cache-Control", "Pragma", "Date", "DNT", "X-Note"),
)


@pytest.mark.parametrize("name", FORGED)
def test_what_a_server_would_believe_is_not_passed_on(name: str) -> None:
    """Row 78, in any case of letters."""
    for written in (name, name.lower(), name.upper()):
        head = parse(f"POST /Microsoft-Server-ActiveSync HTTP/1.1\r\nHost: x\r\n{written}: forged\r\n\r\n".encode())
        assert b"forged" not in request_head(head, BACKEND, "192.0.2.1")


@pytest.mark.parametrize("name", GENUINE)
def test_what_clients_send_is_passed_on(name: str) -> None:
    """Byte for byte."""
    head = parse(f"POST /Microsoft-Server-ActiveSync HTTP/1.1\r\nHost: x\r\n{name}: 'as it is'\r\n\r\n".encode())
    assert f"\r\n{name}: 'as it is'\r\n".encode() in request_head(head, BACKEND, "192.0.2.1")


def test_a_front_ends_header_is_not_passed_on_whatever_it_is_called() -> None:
    """The site has named it."""
    head = parse(b"POST /Microsoft-Server-ActiveSync HTTP/1.1\r\nHost: x\r\nF5-Cert: secret\r\n\r\n")
    assert b"secret" in request_head(head, BACKEND, "192.0.2.1")
    assert b"secret" not in request_head(head, BACKEND, "192.0.2.1", hidden=frozenset({b"f5-cert"}))


def test_a_head_is_written_anew_for_whatever_it_is_made_of() -> None:
    """What was written last is kept with the head, and serves only where everything is the same."""
    head = parse(
        b"POST /Microsoft-Server-ActiveSync?Cmd=Sync HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eA==\r\nF5: c\r\n\r\n"
    )
    plain = request_head(head, BACKEND, "192.0.2.1")
    assert request_head(head, BACKEND, "192.0.2.1") is plain
    others = [
        request_head(head, msgspec.structs.replace(BACKEND, server_name="other.test"), "192.0.2.1"),
        request_head(head, BACKEND, "192.0.2.2"),
        request_head(head, BACKEND, "192.0.2.1", policy_key=7),
        request_head(head, BACKEND, "192.0.2.1", policy_key=8),
        request_head(head, BACKEND, "192.0.2.1", logged_on=True),
        request_head(head, BACKEND, "192.0.2.1", hidden=frozenset({b"f5"})),
    ]
    assert len({plain, *others}) == 7
    assert request_head(head, BACKEND, "192.0.2.1") == plain
